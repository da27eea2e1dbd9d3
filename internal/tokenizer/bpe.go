package tokenizer

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// Words up to this many bytes are cached; the cache is emptied when it holds this many.
const (
	cachedWordBytes = 64
	cachedWords     = 1 << 16
)

// merge makes id of two neighbours; lower ranks go first, and of equal ones the leftmost.
type merge struct{ rank, id int32 }

// bpe merges the smallest tokens of one word by rank. Safe for concurrent use.
type bpe struct {
	// The smallest tokens are bytes where byteLevel, else characters; -1: the vocabulary has no token for it.
	byteLevel  bool
	byteID     [256]int32     // byteLevel: of each byte; else what stands for a byte of a character without a token
	characters map[rune]int32 // ASCII too, which is in ascii for speed
	ascii      [utf8.RuneSelf]int32

	unknown int32            // the token for what has none; -1: it gives none
	fuse    bool             // one unknown token for neighbours without a token
	merges  map[uint64]merge // key: left id << 32 | right id
	words   map[string]int32 // whole words; nil unless ignore_merges
	// cutBefore: no token crosses from a character that is not in glued to a ▁ behind it, so that words may be cut there
	cutBefore bool
	glued     map[rune]bool

	mu    sync.RWMutex
	cache map[string][]int32
	pool  sync.Pool // *merging
}

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// appendPiece appends the ids of a piece of text.
func (m *bpe) appendPiece(ids []int32, text string) []int32 {
	if !m.cutBefore {
		return m.appendWord(ids, text)
	}
	start := 0
	for at := len(metaspace); ; at += len(metaspace) {
		if at >= len(text) {
			return m.appendWord(ids, text[start:])
		}
		i := strings.Index(text[at:], metaspace)
		if i < 0 {
			return m.appendWord(ids, text[start:])
		}
		at += i
		if before, _ := utf8.DecodeLastRuneInString(text[:at]); !m.glued[before] {
			ids = m.appendWord(ids, text[start:at])
			start = at
		}
	}
}

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

// candidate proposes to merge a symbol with its right neighbour.
type candidate struct {
	order uint64 // rank << 32 | place of the symbol
	id    int32
}

// merging is the state of merging one word.
type merging struct {
	symbols []symbol
	queue   []candidate // a heap, the lowest order first
}

// merge applies the lowest-ranked merge, leftmost first, until none is left: O(n log n) in the word's bytes.
func (m *bpe) merge(ids []int32, word string) []int32 {
	w, _ := m.pool.Get().(*merging)
	if w == nil {
		w = &merging{}
	}
	defer m.pool.Put(w)
	w.symbols, w.queue = w.symbols[:0], w.queue[:0]
	if m.byteLevel {
		m.addBytes(w, word)
	} else {
		m.addCharacters(w, word)
	}
	if len(w.symbols) == 0 {
		return ids
	}
	w.symbols[len(w.symbols)-1].next = -1
	for i := range w.symbols {
		m.propose(w, int32(i))
	}
	for len(w.queue) > 0 {
		top := w.pop()
		pos := int32(uint32(top.order))
		left := &w.symbols[pos]
		if left.id < 0 || left.next < 0 {
			continue
		}
		right := &w.symbols[left.next]
		// The neighbours may have changed since the candidate was queued.
		if now, ok := m.merges[pairKey(left.id, right.id)]; !ok || now.id != top.id {
			continue
		}
		left.id, left.next = top.id, right.next
		right.id = -1
		if left.next >= 0 {
			w.symbols[left.next].prev = pos
		}
		m.propose(w, left.prev)
		m.propose(w, pos)
	}
	for i := int32(0); i >= 0; i = w.symbols[i].next {
		ids = append(ids, w.symbols[i].id)
	}
	return ids
}

func (w *merging) add(id int32) {
	n := int32(len(w.symbols))
	w.symbols = append(w.symbols, symbol{id: id, prev: n - 1, next: n + 1})
}

func (m *bpe) addBytes(w *merging, word string) {
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
		w.add(id)
	}
}

// addCharacters gives a character without a token those of its bytes, if it has all of them. An unknown token is added
// when the next character is looked up, behind tokens of bytes, as `tokenizers` does it.
func (m *bpe) addCharacters(w *merging, word string) {
	unknown := false // one is still to be added
	for i := 0; i < len(word); {
		id, n := int32(-1), 1
		if b := word[i]; b < utf8.RuneSelf {
			id = m.ascii[b]
		} else {
			var c rune
			c, n = utf8.DecodeRuneInString(word[i:])
			if known, ok := m.characters[c]; ok && (n > 1 || c != utf8.RuneError) {
				id = known
			}
		}
		character := word[i : i+n]
		i += n
		switch {
		case id >= 0:
			if unknown {
				w.add(m.unknown)
				unknown = false
			}
			w.add(id)
		case m.hasBytes(character):
			for k := range len(character) {
				w.add(m.byteID[character[k]])
			}
		case m.unknown >= 0:
			if unknown && !m.fuse {
				w.add(m.unknown)
			}
			unknown = true
		}
	}
	if unknown {
		w.add(m.unknown)
	}
}

func (m *bpe) hasBytes(character string) bool {
	for i := range len(character) {
		if m.byteID[character[i]] < 0 {
			return false
		}
	}
	return true
}

// propose queues the merge of the symbol at pos with its right neighbour, if there is one.
func (m *bpe) propose(w *merging, pos int32) {
	if pos < 0 || w.symbols[pos].next < 0 {
		return
	}
	pair, ok := m.merges[pairKey(w.symbols[pos].id, w.symbols[w.symbols[pos].next].id)]
	if !ok {
		return
	}
	c := candidate{uint64(uint32(pair.rank))<<32 | uint64(uint32(pos)), pair.id}
	w.queue = append(w.queue, c)
	at := len(w.queue) - 1
	for at > 0 {
		parent := (at - 1) / 2
		if w.queue[parent].order <= c.order {
			break
		}
		w.queue[at] = w.queue[parent]
		at = parent
	}
	w.queue[at] = c
}

func (w *merging) pop() candidate {
	top, last := w.queue[0], w.queue[len(w.queue)-1]
	w.queue = w.queue[:len(w.queue)-1]
	at, n := 0, len(w.queue)
	for {
		child := 2*at + 1
		if child >= n {
			break
		}
		if child+1 < n && w.queue[child+1].order < w.queue[child].order {
			child++
		}
		if last.order <= w.queue[child].order {
			break
		}
		w.queue[at] = w.queue[child]
		at = child
	}
	if n > 0 {
		w.queue[at] = last
	}
	return top
}
