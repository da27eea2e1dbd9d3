package inspect

import "math"

// Left counts why rows are not kept.
type Left struct {
	Duplicates int // rows that are there already
	Near       int // nearly
	Long       int // more tokens than wanted
	Refused    int // by the chat template, so that nobody knows how many they would have
}

// Keep tells of each row of a split, in their order, whether it is kept: with dedup where no earlier row is like it, of
// that split or one before it; with maxTokens above 0 where it has no more.
func (i *Inspector) Keep(name string, dedup bool, maxTokens int) (kept []bool, left Left) {
	if i.twins == nil && dedup {
		i.twins = i.rows.twins()
	}
	for _, s := range i.splits {
		if s.Name != name {
			continue
		}
		long := func(row uint32) bool { return maxTokens > 0 && int64(i.rows.lengths[row]) > int64(maxTokens) }
		instead := map[uint32]bool{} // rows that are too long, in whose place one that is like them is kept
		kept = make([]bool, s.end-s.first)
		for k := range kept {
			row := uint32(s.first + k)
			twin, is := i.twins[row]
			if is = is && dedup; is && !long(row) && long(twin.Of) && !instead[twin.Of] {
				is, instead[twin.Of] = false, true
			}
			switch {
			case is && twin.Near:
				left.Near++
			case is:
				left.Duplicates++
			case long(row) && i.rows.lengths[row] == refused:
				left.Refused++
			case long(row):
				left.Long++
			default:
				kept[k] = true
			}
		}
	}
	return kept, left
}

// refused stands for the length of a row that the template refuses.
const refused = math.MaxUint32
