package tokenizer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"qlora-wgpu/internal/usererr"
)

// typeUnused and typeByte are the other token types of GGUF.
const (
	typeUnused = 5
	typeByte   = 6
)

// Vocabulary is the tokenizer as the metadata of a GGUF file can say it, for a model whose embedding has so many rows:
// what FromVocabulary makes of it gives the same ids. chats tells that texts are rendered by a chat template, whose
// text begins with a token. notes say, a sentence each, what is lost. A tokenizer that GGUF cannot say is an
// unsupported *usererr.Error; path is for its message.
func (t *Tokenizer) Vocabulary(rows int, chats bool, path string) (v Vocabulary, notes []string, err error) {
	for _, list := range [][]int32{t.around.before, t.around.after} {
		if len(list) > 1 {
			return v, nil, inexpressible(path, "puts %d tokens at an end of a text, GGUF can say one", len(list))
		}
	}
	for _, id := range t.around.before {
		v.Before, _ = t.Token(id)
	}
	for _, id := range t.around.after {
		v.After, _ = t.Token(id)
	}
	v.Tokens, v.Types = t.listed(rows)
	if note := stripping(t.strips()); note != "" {
		notes = append(notes, note)
	}
	if t.model.byteLevel {
		if t.normalize(decomposed) != decomposed {
			notes = append(notes, composes)
		}
		err = t.sayByteLevel(&v, path)
		return v, notes, err
	}
	said, err := t.sayScores(&v, chats, path)
	return v, append(notes, said...), err
}

const (
	decomposed = "e\u0301"
	composes   = "The tokenizer composes letters and their accents (NFC) before it cuts a text; llama.cpp cuts it as it stands: " +
		"a letter that is written with two characters becomes other tokens."
)

func inexpressible(path, format string, args ...any) *usererr.Error {
	return usererr.New("export tokenizer", path, "the tokenizer "+format, args...).Of(usererr.Unsupported).
		Hinted("export the adapter alone, or write a Hugging Face folder with merge, and use it where its tokenizer.json is read")
}

// listed are the tokens by id and their types. An id without a token gets one that no text has.
func (t *Tokenizer) listed(rows int) (tokens []string, types []int) {
	tokens, types = make([]string, rows), make([]int, rows)
	for id := range tokens {
		token, there := t.Token(int32(id))
		switch {
		case !there:
			token = fmt.Sprintf("[PAD%d]", id)
			for t.has(token) {
				token += "_"
			}
			types[id] = typeUnused
		case !t.model.byteLevel && t.model.unknown == int32(id):
			types[id] = typeUnknown
		case t.special[int32(id)]:
			types[id] = typeControl
		case t.isAdded[int32(id)]:
			types[id] = typeUserDefined
		case t.isByte(token, int32(id)):
			types[id] = typeByte
		default:
			types[id] = typeNormal
		}
		tokens[id] = token
	}
	return tokens, types
}

func (t *Tokenizer) has(token string) bool {
	_, ok := t.ids[token]
	return ok
}

// isByte tells whether a token stands for a byte of a character that has none.
func (t *Tokenizer) isByte(token string, id int32) bool {
	b, ok := fallbackByte(token)
	return ok && !t.model.byteLevel && t.model.byteID[b] == id
}

// strips are the added tokens that take spaces beside them, or that have to be words: GGUF has no flag for it.
func (t *Tokenizer) strips() (names []string) {
	for _, m := range []*matcher{t.exact, t.normalized} {
		for _, token := range m.ends {
			if token.LStrip || token.RStrip || token.SingleWord {
				names = append(names, token.Content)
			}
		}
	}
	slices.Sort(names)
	return names
}

// stripping says of them what is lost; empty: nothing.
func stripping(names []string) string {
	if len(names) == 0 {
		return ""
	}
	const shown = 3
	list := strings.Join(names[:min(shown, len(names))], " ")
	if more := len(names) - shown; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return "Spaces beside " + list + " are part of these tokens for the tokenizer; GGUF cannot say so, llama.cpp keeps them as text."
}

// sayByteLevel finds the pre-tokenization that cuts texts alike, and lists the merges.
func (t *Tokenizer) sayByteLevel(v *Vocabulary, path string) error {
	v.Model = "gpt2"
	for _, name := range []string{"gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "qwen35", "tekken", "gpt-4o", "deepseek-v3"} {
		var d definition
		preTokenizations[name].configure(&d)
		other := &Tokenizer{normalizers: d.normalizers, preTokenizers: d.preTokenizers}
		if t.cutsLike(other) && (d.ignoreMerges == (t.model.words != nil) || t.mergesReachAll()) {
			v.Pre = name
			break
		}
	}
	if v.Pre == "" {
		return inexpressible(path, "cuts texts into words as no pre-tokenization that GGUF has a name for")
	}
	for _, pair := range t.byRank() {
		left, right := t.tokens[pair>>32], t.tokens[uint32(pair)]
		if strings.Contains(left+right, " ") {
			return inexpressible(path, "merges %.40q and %.40q, tokens with spaces", left, right)
		}
		v.Merges = append(v.Merges, left+" "+right)
	}
	other, err := FromVocabulary(*v, path)
	if err != nil {
		return err
	}
	if text, ok := t.encodesUnlike(other, func(string) bool { return true }); ok {
		return inexpressible(path, "gives other ids for %.40q than any that GGUF has", text)
	}
	return nil
}

// byRank are the pairs that merge, the first ones first.
func (t *Tokenizer) byRank() []uint64 {
	merges := t.model.merges
	return slices.SortedFunc(maps.Keys(merges), func(a, b uint64) int {
		return cmp.Or(cmp.Compare(merges[a].rank, merges[b].rank), cmp.Compare(a, b))
	})
}

// cutsLike compares what becomes of texts before they are merged.
func (t *Tokenizer) cutsLike(other *Tokenizer) bool {
	return !slices.ContainsFunc(probes, func(text string) bool {
		return !slices.Equal(t.pieces(text, true), other.pieces(text, true)) || !slices.Equal(t.pieces(text, false), other.pieces(text, false))
	})
}

// pieces are what is merged of a text without added tokens. first: nothing stands before it.
func (t *Tokenizer) pieces(text string, first bool) (cut []string) {
	parts := []piece{{t.normalize(text), first}}
	for _, preTokenize := range t.preTokenizers {
		var next []piece
		for _, p := range parts {
			next = preTokenize(next, p)
		}
		parts = next
	}
	for _, p := range parts {
		cut = append(cut, p.text)
	}
	return cut
}

// mergesReachAll tells whether every token of the vocabulary is what merging its bytes gives: then it is all one
// whether words are looked up before.
func (t *Tokenizer) mergesReachAll() bool {
	for id, token := range t.tokens {
		if raw, ok := tokenBytes(token); ok && token != "" && !t.isAdded[int32(id)] {
			if ids := t.model.merge(nil, raw); len(ids) != 1 || ids[0] != int32(id) {
				return false
			}
		}
	}
	return true
}

// sayScores gives every token the score by which merging neighbours, the best first, is merging by rank.
func (t *Tokenizer) sayScores(v *Vocabulary, chats bool, path string) (notes []string, err error) {
	v.Model, v.Scores = "llama", make([]float32, len(v.Tokens))
	if b := slices.Index(t.model.byteID[:], -1); b >= 0 {
		return nil, inexpressible(path, "has no token <0x%02X>: llama.cpp has to have one for every byte", b)
	}
	last, worst := int32(-1), float32(0)
	placed := map[int32]bool{}
	for _, pair := range t.byRank() {
		m := t.model.merges[pair]
		if m.id != last && placed[m.id] {
			return nil, inexpressible(path, "merges %.40q at several ranks, GGUF has one score for it", t.tokens[m.id])
		}
		if !placed[m.id] {
			worst--
			v.Scores[m.id], placed[m.id], last = worst, true, m.id
		}
	}
	made := func(id int32) bool { return placed[id] }
	begins := func(text string, first bool) bool {
		cut := t.pieces(text, first)
		return len(cut) > 0 && strings.HasPrefix(cut[0], metaspace)
	}
	atStart, behind := begins("a", true), begins("a", false)
	v.AddSpacePrefix = atStart && (behind || !chats)
	v.CollapseSpaces = strings.Join(t.pieces("a  b", true), "") == strings.Join(t.pieces("a b", true), "")
	texts := func(text string) bool { return true }
	switch {
	case atStart == behind:
	case chats:
		texts = func(text string) bool { return strings.HasPrefix(text, opened) }
		notes = append(notes, "A text of no conversation begins with a space for the tokenizer, which GGUF cannot say without one behind "+
			"every token of the template: llama.cpp puts none.")
	default:
		texts = func(text string) bool { return !strings.Contains(text, opened) }
		notes = append(notes, "llama.cpp puts a space behind every special token, the tokenizer only in front of a text.")
	}
	tokens, types := v.Tokens, v.Types
	var different string
	for _, kind := range []struct { // what becomes of added tokens that are not special
		spaced bool              // they are looked for with spaces
		merged func(id int) bool // text can be merged into them
	}{
		{false, func(int) bool { return false }},
		{true, func(id int) bool { return made(int32(id)) && strings.Trim(tokens[id], metaspace) == "" }},
		{true, func(int) bool { return false }},
		{true, func(id int) bool { return made(int32(id)) }},
	} {
		v.Tokens, v.Types = slices.Clone(tokens), slices.Clone(types)
		for id, was := range types {
			switch {
			case was != typeUserDefined:
			case kind.merged(id):
				v.Types[id] = typeNormal
			case kind.spaced:
				v.Tokens[id] = strings.ReplaceAll(tokens[id], metaspace, " ")
			}
		}
		t.lower(v, worst, made)
		other, err := FromVocabulary(*v, path)
		if err != nil {
			return nil, err
		}
		if pair, ok := other.mergesMore(t); ok {
			different = fmt.Sprintf("does not merge %.40q and %.40q, which are a token together: by scores they would be",
				t.tokens[pair>>32], t.tokens[uint32(pair)])
			continue
		}
		text, ok := t.encodesUnlike(other, texts)
		if !ok {
			return notes, nil
		}
		different = fmt.Sprintf("gives other ids for %.40q than any that GGUF has", text)
	}
	return nil, inexpressible(path, "%s", different)
}

// lower puts tokens of several characters that nothing is merged into behind all others.
func (t *Tokenizer) lower(v *Vocabulary, worst float32, made func(id int32) bool) {
	for id, token := range v.Tokens {
		if v.Types[id] == typeNormal && !made(int32(id)) && utf8.RuneCountInString(token) > 1 {
			v.Scores[id] = worst - 1
		}
	}
}

// mergesMore finds a pair of tokens that t merges and other does not.
func (t *Tokenizer) mergesMore(other *Tokenizer) (pair uint64, found bool) {
	for _, pair := range t.byRank() {
		if _, ok := other.model.merges[pair]; !ok {
			return pair, true
		}
	}
	return 0, false
}

// opened stands in probes for an added token.
const opened = "\x00"

// encodesUnlike finds a text of which other makes other ids.
func (t *Tokenizer) encodesUnlike(other *Tokenizer, asked func(text string) bool) (text string, found bool) {
	var marks []string
	strips := t.strips()
	for id := range t.special {
		if token := t.tokens[id]; int(id) < other.Size() && !slices.Contains(strips, token) {
			marks = append(marks, token)
		}
	}
	slices.Sort(marks)
	texts := slices.Clone(probes)
	if len(marks) > 0 {
		for _, text := range probes {
			texts = append(texts, opened+text, opened+text+opened+text)
		}
	}
	for i, text := range texts {
		if !asked(text) {
			continue
		}
		for strings.Contains(text, opened) {
			text = strings.Replace(text, opened, marks[i%len(marks)], 1)
		}
		if !slices.Equal(t.Encode(text), other.Encode(text)) {
			return text, true
		}
	}
	return "", false
}
