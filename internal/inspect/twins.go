package inspect

import (
	"cmp"
	"maps"
	"slices"
)

// rows are what is kept of each row.
type rows struct {
	exact    []uint64 // hash of the whole row; 0: it is not learned, or nobody wants to know
	answers  []uint64 // hash of its last answer; 0: it has none that counts
	sketches []sketch // zero: too short
	lengths  []uint32 // 0: it is not learned, or cut
}

func (r *rows) add(l Look) (at int) {
	r.exact = append(r.exact, l.exact)
	r.answers = append(r.answers, l.answer)
	r.sketches = append(r.sketches, l.sketch)
	r.lengths = append(r.lengths, l.length)
	return len(r.exact) - 1
}

// Twin is an earlier row that a row is like.
type Twin struct {
	Of   uint32 // index among all rows, from 0
	Near bool   // its words are nearly the same; otherwise all is
}

// Twins are the rows that are like an earlier one, by their index.
type Twins map[uint32]Twin

func (t Twins) sorted() []uint32 { return slices.Sorted(maps.Keys(t)) }

// groups gives the rows that share a key, each group in ascending order; 0 is no key.
func groups(n int, key func(row uint32) uint64, group func(rows []uint32)) {
	order := make([]uint32, 0, n)
	for i := range uint32(n) {
		if key(i) != 0 {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b uint32) int { return cmp.Or(cmp.Compare(key(a), key(b)), cmp.Compare(a, b)) })
	for from := 0; from < len(order); {
		end := from + 1
		for end < len(order) && key(order[end]) == key(order[from]) {
			end++
		}
		if end-from > 1 {
			group(order[from:end])
		}
		from = end
	}
}

// mostCompared is how many rows of a band a row is compared with: thousands may share one.
const mostCompared = 16

// twins finds the rows that are like an earlier one. Of rows that are like each other the first has no twin.
func (r *rows) twins() Twins {
	twins := Twins{}
	groups(len(r.exact), func(row uint32) uint64 { return r.exact[row] }, func(same []uint32) {
		for _, row := range same[1:] {
			twins[row] = Twin{Of: same[0]}
		}
	})
	exact := maps.Clone(twins)
	for band := range bands {
		groups(len(r.exact), func(row uint32) uint64 { return r.sketches[row][band] }, func(alike []uint32) {
			var firsts []uint32
			for _, row := range alike {
				if _, is := exact[row]; is {
					continue
				}
				at := slices.IndexFunc(firsts, func(first uint32) bool {
					return r.sketches[row].similarity(r.sketches[first]) >= nearThreshold
				})
				switch have, is := twins[row]; {
				case at < 0 && len(firsts) < mostCompared:
					firsts = append(firsts, row)
				case at >= 0 && (!is || firsts[at] < have.Of):
					twins[row] = Twin{Of: firsts[at], Near: true}
				}
			}
		})
	}
	return twins
}

// leastSame is how many rows share an answer before that is said.
const leastSame = 5

// sameAnswers says which rows share a long answer with several that they are not twins of.
func (i *Inspector) sameAnswers() {
	var shared []uint32
	groups(len(i.rows.answers), func(row uint32) uint64 { return i.rows.answers[row] }, func(same []uint32) {
		same = slices.DeleteFunc(slices.Clone(same), func(row uint32) bool { _, is := i.twins[row]; return is })
		if len(same) >= leastSame {
			shared = append(shared, same...)
		}
	})
	slices.Sort(shared)
	for _, row := range shared {
		i.find(i.splitOf(int(row)), kindSameAnswer, "", Place{At: i.places.at(int(row))})
	}
}

// places are those of all rows in their files, without a string for each.
type places struct {
	text []byte
	ends []int
}

func (p *places) add(where string) {
	p.text = append(p.text, where...)
	p.ends = append(p.ends, len(p.text))
}

func (p *places) at(row int) string {
	from := 0
	if row > 0 {
		from = p.ends[row-1]
	}
	return string(p.text[from:p.ends[row]])
}
