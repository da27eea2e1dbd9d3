package inspect

import (
	"math"
	"slices"
)

const (
	leastRows = 20  // from which on a length can be unusual
	farOff    = 4.5 // robust standard deviations of the logarithm
	farTimes  = 8   // and as many times the median
)

// lengths are a split's, and the rows that are far from the others.
func (i *Inspector) lengths(s *split) {
	var sorted []uint32
	for _, n := range i.rows.lengths[s.first:s.end] {
		if n > 0 && n != refused {
			sorted = append(sorted, n)
		}
	}
	if len(sorted) == 0 {
		return
	}
	slices.Sort(sorted)
	at := func(part float64) int { return int(sorted[int(part*float64(len(sorted)-1))]) }
	limit := math.MaxInt
	if i.o.Text != nil {
		limit = i.o.MaxSeqLength
	}
	s.Lengths = &Lengths{
		Shortest: at(0), Median: at(0.5), P90: at(0.9), P99: at(0.99), Longest: at(1), Bins: bins(sorted, limit),
	}
	if i.o.Text != nil {
		for _, n := range sorted {
			if int(n) > limit {
				s.Lengths.Over++
			}
		}
	}
	if len(sorted) < leastRows {
		return
	}
	median := float64(at(0.5))
	spread := make([]float64, len(sorted))
	for k, n := range sorted {
		spread[k] = math.Abs(math.Log(float64(n) / median))
	}
	slices.Sort(spread)
	far := max(farOff*1.4826*spread[len(spread)/2], math.Log(farTimes))
	for row := s.first; row < s.end; row++ {
		n := int(i.rows.lengths[row])
		if n == 0 || n > limit { // what is cut is said to be
			continue
		}
		switch off := math.Log(float64(n) / median); {
		case off > far:
			i.find(s, kindLong, "", Place{At: i.places.at(row)})
		case off < -far:
			i.find(s, kindShort, "", Place{At: i.places.at(row)})
		}
	}
}

// bins count lengths, which are in ascending order, in steps of half a power of two and at the limit.
func bins(sorted []uint32, limit int) (all []Bin) {
	at, from, power := 0, 1, 16
	for at < len(sorted) {
		next := power
		if from > limit || limit >= next-1 { // no limit between
			if power&(power-1) == 0 {
				power += power / 2
			} else {
				power += power / 3
			}
		} else {
			next = limit + 1
		}
		end := at
		for end < len(sorted) && int(sorted[end]) < next {
			end++
		}
		if len(all) > 0 || end > at {
			all = append(all, Bin{From: from, To: next - 1, Rows: end - at})
		}
		at, from = end, next
	}
	return all
}
