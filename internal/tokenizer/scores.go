package tokenizer

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

const (
	// maxMergedBytes bounds the work that a token makes which is too long to be one of text, maxScoredBytes that of all:
	// the largest vocabularies in use have two million bytes.
	maxMergedBytes = 256
	maxScoredBytes = 8 << 20
)

// mergesByScore makes the merges of a vocabulary that has scores in place of a list: any two neighbours whose texts are
// a token together are merged, the best-scored token first, the leftmost of equal ones (SentencePiece's bpe_model.cc).
// scores are by id; left out are the ids that text cannot be merged into.
func (d *definition) mergesByScore(tokens []string, scores []float32, mergeable func(id int) bool) error {
	total := 0
	ids := make(map[string]int32, len(tokens))
	var distinct []float32
	for id, token := range tokens {
		if mergeable(id) {
			total += len(token)
			ids[token] = int32(id)
			distinct = append(distinct, scores[id])
		}
	}
	if total > maxScoredBytes {
		return fail(d.path, "the tokens have %d bytes, more than %d", total, maxScoredBytes)
	}
	slices.SortFunc(distinct, func(a, b float32) int { return cmp.Compare(b, a) })
	distinct = slices.Compact(distinct)
	d.byScore = make(map[uint64]merge, len(ids))
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
				d.byScore[pairKey(left, right)] = merge{int32(rank), id}
			}
		}
	}
	return nil
}
