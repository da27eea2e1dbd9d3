package tokenizer

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

// mergesByScore makes the merges of a vocabulary that has scores in place of a list: any two neighbours whose texts are
// a token together are merged, the best-scored token first, the leftmost of equal ones (SentencePiece's bpe_model.cc).
// scores are by id; left out are the ids that text cannot be merged into.
func mergesByScore(tokens []string, scores []float32, mergeable func(id int) bool) map[uint64]merge {
	ids := make(map[string]int32, len(tokens))
	var distinct []float32
	for id, token := range tokens {
		if mergeable(id) {
			ids[token] = int32(id)
			distinct = append(distinct, scores[id])
		}
	}
	slices.SortFunc(distinct, func(a, b float32) int { return cmp.Compare(b, a) })
	distinct = slices.Compact(distinct)
	merges := make(map[uint64]merge, len(ids))
	for token, id := range ids {
		if len(token) > maxMergedBytes {
			continue
		}
		rank, _ := slices.BinarySearchFunc(distinct, scores[id], func(a, b float32) int { return cmp.Compare(b, a) })
		for cut := 1; cut < len(token); cut++ {
			if !utf8.RuneStart(token[cut]) {
				continue
			}
			left, okLeft := ids[token[:cut]]
			right, okRight := ids[token[cut:]]
			if okLeft && okRight {
				merges[pairKey(left, right)] = merge{int32(rank), id}
			}
		}
	}
	return merges
}

// maxMergedBytes bounds the work that a token makes which is too long to be one of text.
const maxMergedBytes = 1 << 10
