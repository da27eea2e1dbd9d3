package dataset

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// Weighted is one of several data sets that are learned together.
type Weighted struct {
	*Source
	Name   string  // as the user wrote it
	Weight float64 // how often its rows come in an epoch, see Weigh
	Rows   string  // those of Source.Slice that it has left; empty: all
}

// part is a range of rows of a source with a weight.
type part struct {
	name       string
	rows, from int
	weight     float64
}

// Combine is one data set of several, in their order. Its hash holds those of all, their weights, and which rows are
// taken; that of one alone with neither is its own.
func Combine(list []Weighted) (*Source, error) {
	if len(list) == 1 && list[0].Weight == 1 && list[0].Rows == "" {
		return list[0].Source, nil
	}
	names, sources, sum := make([]string, len(list)), make([]*Source, len(list)), sha256.New()
	for i, w := range list {
		names[i], sources[i] = w.Name, w.Source
		fmt.Fprintf(sum, "%s %g %s\n", w.Hash, w.Weight, w.Rows)
	}
	s := sources[0]
	if len(list) > 1 {
		var err error
		if s, err = join(strings.Join(names, ", "), names, sources); err != nil {
			return nil, err
		}
	} else {
		cut := *s
		s = &cut
	}
	s.parts = nil
	var notes []string
	for i, w := range list {
		p := part{names[i], sources[i].Len(), 0, w.Weight}
		if i > 0 {
			p.from = s.parts[i-1].from + s.parts[i-1].rows
		}
		s.parts = append(s.parts, p)
		note := fmt.Sprintf("%d rows of %s", p.rows, p.name)
		if w.Weight != 1 {
			note += fmt.Sprintf(", %g times an epoch", w.Weight)
		}
		notes = append(notes, note)
	}
	s.Notes, s.Hash = append(notes, s.Notes...), hex.EncodeToString(sum.Sum(nil))
	return s, nil
}

// IsWeighted tells whether some rows come more or less often than once an epoch.
func (s *Source) IsWeighted() bool {
	return slices.ContainsFunc(s.parts, func(p part) bool { return p.weight != 1 })
}

// Weigh gives the samples of an epoch, of those that a source's rows became: all of a part as often as the whole number
// in its weight, one pass behind another, then as many as the fraction is of them, to the nearest and at least one of
// the part, drawn by the seed, in their order. Parts stand one behind another. The same ones come in every epoch.
func Weigh(samples Samples, s *Source, seed uint64) (Samples, error) {
	if !s.IsWeighted() {
		return samples, nil
	}
	var members []uint32
	end := 0
	for i, p := range s.parts {
		from := end
		var err error
		if end, err = firstOf(samples, p.from+p.rows); err != nil {
			return nil, err
		}
		n := end - from
		pass := make([]uint32, n)
		for k := range pass {
			pass[k] = uint32(from + k)
		}
		whole := math.Floor(p.weight)
		if (float64(len(members)) + float64(n)*(whole+1)) > math.MaxInt32 {
			return nil, usererr.New(encodeOp, s.Path, "an epoch would have more than %d samples", math.MaxInt32).Hinted("lower the weights")
		}
		for range int(whole) {
			members = append(members, pass...)
		}
		some := int(math.Round((p.weight - whole) * float64(n)))
		if whole == 0 && n > 0 {
			some = max(some, 1)
		}
		drawn := permutation(n, seed, weightSequence+uint64(i))[:some]
		slices.Sort(drawn)
		for _, k := range drawn {
			members = append(members, pass[k])
		}
	}
	return subset{samples, members}, nil
}

// firstOf is the first sample of a row, or of those behind it.
func firstOf(samples Samples, row int) (int, error) {
	var failed error
	at := sort.Search(samples.Len(), func(i int) bool {
		sample, err := samples.At(i)
		failed = cmp.Or(failed, err)
		return sample.Row >= row
	})
	return at, failed
}

// cutParts are the parts of a range of rows.
func cutParts(parts []part, from, to int) (kept []part) {
	for _, p := range parts {
		first, end := max(p.from, from), min(p.from+p.rows, to)
		if first < end {
			kept = append(kept, part{p.name, end - first, first - from, p.weight})
		}
	}
	return kept
}
