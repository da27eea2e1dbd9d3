package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// AddedToken is matched in the text before anything else. With normalized, it is looked for in the normalized text.
type AddedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`

	// IfMissing: a token from beside the file is taken only where the file does not add it itself.
	IfMissing bool `json:"-"`

	wanted string // what the normalized text is searched for; "": Content, normalized
}

// addBeside enters the tokens that files beside tokenizer.json name, as `add_tokens` of `tokenizers` does: a token of
// the vocabulary keeps its id, another one gets the next; one that is there already gets the new flags.
func (d *definition) addBeside(beside []AddedToken) {
	next := int32(len(d.vocabulary))
	place := map[string]int{}
	for i, a := range d.added {
		place[a.Content] = i
		next = max(next, a.ID+1)
	}
	for _, token := range beside {
		i, there := place[token.Content]
		switch id, known := d.vocabulary[token.Content]; {
		case there && token.IfMissing:
			continue
		case there:
			token.ID = d.added[i].ID
			d.added[i] = token
			continue
		case known:
			token.ID = id
		default:
			token.ID = next
		}
		next = max(next, token.ID+1)
		place[token.Content] = len(d.added)
		d.added = append(d.added, token)
	}
}

// matcher finds added tokens: leftmost, then longest.
type matcher struct {
	first [256]bool
	nodes map[uint64]int32     // node << 8 | byte -> node, 0 is the root
	ends  map[int32]AddedToken // node -> the token that ends there
}

func newMatcher() *matcher {
	return &matcher{nodes: map[uint64]int32{}, ends: map[int32]AddedToken{}}
}

func (m *matcher) add(content string, token AddedToken) {
	node := int32(0)
	for i := range len(content) {
		key := uint64(node)<<8 | uint64(content[i])
		next, ok := m.nodes[key]
		if !ok {
			next = int32(len(m.nodes) + 1)
			m.nodes[key] = next
		}
		node = next
	}
	m.first[content[0]] = true
	m.ends[node] = token
}

// longest is the longest token at the start of text and its length; length 0 where there is none.
func (m *matcher) longest(text string) (AddedToken, int) {
	var found AddedToken
	length, node := 0, int32(0)
	for i := range len(text) {
		next, ok := m.nodes[uint64(node)<<8|uint64(text[i])]
		if !ok {
			break
		}
		node = next
		if token, ok := m.ends[node]; ok {
			found, length = token, i+1
		}
	}
	return found, length
}

// split calls plain for what lies between added tokens (never empty; first: the text begins with it) and added for each
// token.
func (m *matcher) split(text string, plain func(text string, first bool), added func(int32)) {
	done := 0
	for i := 0; i < len(text); {
		if !m.first[text[i]] {
			i++
			continue
		}
		token, n := m.longest(text[i:])
		if n == 0 {
			i++
			continue
		}
		start, end := i, i+n
		i = end
		if token.SingleWord && (endsInWord(text[:start]) || startsWithWord(text[end:])) {
			continue
		}
		if token.LStrip {
			start = max(done, len(strings.TrimRightFunc(text[:start], unicode.IsSpace)))
		}
		if token.RStrip {
			end = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
			i = end
		}
		if done < start {
			plain(text[done:start], done == 0)
		}
		added(token.ID)
		done = end
	}
	if done < len(text) {
		plain(text[done:], done == 0)
	}
}

func endsInWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWord(r)
}

func startsWithWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWord(r)
}

// isWord is \w of Unicode's regular expressions (UTS 18): alphabetic, marks, decimal numbers, connectors and joiners.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}
