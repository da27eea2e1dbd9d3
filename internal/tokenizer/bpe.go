package tokenizer

import (
	"container/heap"
	"strings"
	"sync"
)

// Words up to this many bytes are cached; the cache is emptied when it holds this many.
const (
	cachedWordBytes = 64
	cachedWords     = 1 << 16
)

type merge struct{ rank, id int32 }

// bpe merges the bytes of one word by rank. Safe for concurrent use.
type bpe struct {
	byteID  [256]int32       // -1: the vocabulary has no token for this byte
	unknown int32            // the token for such bytes; -1: they give none
	fuse    bool             // one unknown token for neighbouring such bytes
	merges  map[uint64]merge // key: left id << 32 | right id
	words   map[string]int32 // whole words by their bytes; nil unless ignore_merges

	mu    sync.RWMutex
	cache map[string][]int32
}

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

func (m *bpe) appendWord(ids []int32, word string) []int32 {
	if id, ok := m.words[word]; ok {
		return append(ids, id)
	}
	if len(word) > cachedWordBytes {
		return m.merge(ids, word)
	}
	m.mu.RLock()
	cached, ok := m.cache[word]
	m.mu.RUnlock()
	if ok {
		return append(ids, cached...)
	}
	start := len(ids)
	ids = m.merge(ids, word)
	m.mu.Lock()
	if len(m.cache) >= cachedWords {
		clear(m.cache)
	}
	m.cache[strings.Clone(word)] = append([]int32(nil), ids[start:]...)
	m.mu.Unlock()
	return ids
}

// symbol is one element of the word's linked list; id -1 marks one that was merged into its left neighbour.
type symbol struct{ id, prev, next int32 }

// candidate proposes to merge the symbol at pos with its right neighbour.
type candidate struct{ rank, pos, id int32 }

type candidates []candidate

func (c candidates) Len() int { return len(c) }
func (c candidates) Less(i, j int) bool {
	return c[i].rank < c[j].rank || c[i].rank == c[j].rank && c[i].pos < c[j].pos
}
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *candidates) Push(x any)   { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// merge applies the lowest-ranked merge, leftmost first, until none is left: O(n log n) in the word's bytes.
func (m *bpe) merge(ids []int32, word string) []int32 {
	symbols := make([]symbol, 0, len(word))
	fused := false
	for i := range len(word) {
		id := m.byteID[word[i]]
		known := id >= 0
		if !known {
			id = m.unknown
		}
		if id < 0 || fused && !known {
			continue
		}
		fused = m.fuse && !known
		n := int32(len(symbols))
		symbols = append(symbols, symbol{id: id, prev: n - 1, next: n + 1})
	}
	if len(symbols) == 0 {
		return ids
	}
	symbols[len(symbols)-1].next = -1
	queue := make(candidates, 0, len(symbols))
	propose := func(pos int32) (candidate, bool) {
		if pos < 0 || symbols[pos].next < 0 {
			return candidate{}, false
		}
		pair, ok := m.merges[pairKey(symbols[pos].id, symbols[symbols[pos].next].id)]
		return candidate{pair.rank, pos, pair.id}, ok
	}
	for i := range symbols {
		if c, ok := propose(int32(i)); ok {
			queue = append(queue, c)
		}
	}
	heap.Init(&queue)
	for len(queue) > 0 {
		top := heap.Pop(&queue).(candidate)
		left := &symbols[top.pos]
		if left.id < 0 || left.next < 0 {
			continue
		}
		right := &symbols[left.next]
		// The neighbours may have changed since the candidate was queued.
		if now, ok := m.merges[pairKey(left.id, right.id)]; !ok || now.id != top.id {
			continue
		}
		left.id, left.next = top.id, right.next
		right.id = -1
		if left.next >= 0 {
			symbols[left.next].prev = top.pos
		}
		for _, pos := range [2]int32{left.prev, top.pos} {
			if c, ok := propose(pos); ok {
				heap.Push(&queue, c)
			}
		}
	}
	for i := int32(0); i >= 0; i = symbols[i].next {
		ids = append(ids, symbols[i].id)
	}
	return ids
}
