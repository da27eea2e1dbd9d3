// Package tokenizer turns text into token ids and back: BPE of bytes, or of characters as SentencePiece does it, as
// described by Hugging Face's tokenizer.json, by SentencePiece's tokenizer.model or by the metadata of a GGUF file. Ids
// equal those of Hugging Face's `tokenizers`, bar characters that only one side's Unicode version has assigned.
package tokenizer

import (
	"slices"
	"strings"
)

// Tokenizer is read-only after loading and safe for concurrent use.
type Tokenizer struct {
	model         *bpe
	normalizers   []normalizer
	preTokenizers []preTokenizer
	exact         *matcher // added tokens looked for in the text as given
	normalized    *matcher // added tokens looked for in the normalized text

	tokens  []string         // as written in the vocabulary; "" where an id has no token
	bytes   []string         // what each id decodes to
	ids     map[string]int32 // token as written -> id
	special map[int32]bool
	isAdded map[int32]bool
	around  surroundings
	pad     string
	opening opening // what a text's beginning loses when it is decoded
	rows    int     // one more than the largest id of the vocabulary without the added tokens
}

// Before are the ids that the file puts in front of a text, most often a BOS token.
func (t *Tokenizer) Before() []int32 { return t.around.before }

// After are the ids that the file puts behind a text.
func (t *Tokenizer) After() []int32 { return t.around.after }

// Begin is a text's ids behind those that the file puts in front of it, unless they are there already.
func (t *Tokenizer) Begin(ids []int32) []int32 {
	if before := t.around.before; len(ids) < len(before) || !slices.Equal(ids[:len(before)], before) {
		return slices.Concat(before, ids)
	}
	return ids
}

// End is a text's ids before those that the file puts behind it, unless they are there already.
func (t *Tokenizer) End(ids []int32) []int32 {
	if after := t.around.after; len(ids) < len(after) || !slices.Equal(ids[len(ids)-len(after):], after) {
		return slices.Concat(ids, after)
	}
	return ids
}

// PadToken is the token with which the file pads; empty where it does not.
func (t *Tokenizer) PadToken() string { return t.pad }

// Encode gives the ids of text. Added and special tokens inside the text are recognised; no BOS, EOS or other token is
// added. A byte for which the vocabulary has no token gives unk_token where the file names one, else nothing, as in
// `tokenizers` (vocabularies in use lack only bytes that are rare in UTF-8 or never occur).
func (t *Tokenizer) Encode(text string) []int32 {
	var ids []int32
	added := func(id int32) { ids = append(ids, id) }
	t.exact.split(text, func(exact string, first bool) {
		t.normalized.split(t.normalize(exact), func(plain string, begins bool) {
			ids = t.appendPlain(ids, plain, first && begins)
		}, added)
	}, added)
	return ids
}

func (t *Tokenizer) appendPlain(ids []int32, text string, first bool) []int32 {
	parts, next := []piece{{text, first}}, []piece(nil)
	for _, preTokenize := range t.preTokenizers {
		next = next[:0]
		for _, p := range parts {
			next = preTokenize(next, p)
		}
		parts, next = next, parts
	}
	for _, p := range parts {
		ids = t.model.appendPiece(ids, p.text)
	}
	return ids
}

// Decode gives the text of ids, special tokens as they are written. Bytes that are not UTF-8 become U+FFFD; ids without
// a token give nothing. Where the decoder takes the space from a text's beginning, it is gone.
func (t *Tokenizer) Decode(ids []int32) string { return t.decode(ids, t.opening, false) }

// DecodeSkipSpecial is [Tokenizer.Decode] without the special tokens.
func (t *Tokenizer) DecodeSkipSpecial(ids []int32) string { return t.decode(ids, t.opening, true) }

// DecodeContinuation is [Tokenizer.Decode] of ids that follow others: a space at their beginning stays.
func (t *Tokenizer) DecodeContinuation(ids []int32) string { return t.decode(ids, opening{}, false) }

func (t *Tokenizer) decode(ids []int32, o opening, skipSpecial bool) string {
	var out strings.Builder
	for _, id := range ids {
		if token, ok := t.Token(id); ok && (!skipSpecial || !t.special[id]) {
			out.WriteString(o.cut(token, t.bytes[id]))
		}
	}
	return validText(out.String())
}

// Bytes is what one id decodes to; a character may be cut between ids. Empty for an id without a token.
func (t *Tokenizer) Bytes(id int32) string {
	if id < 0 || int(id) >= len(t.bytes) {
		return ""
	}
	return t.bytes[id]
}

// ID is the id of a token as it is written in the vocabulary ("Ġthe", "<|im_end|>").
func (t *Tokenizer) ID(token string) (int32, bool) {
	id, ok := t.ids[token]
	return id, ok
}

// Token is the token of an id as it is written in the vocabulary.
func (t *Tokenizer) Token(id int32) (string, bool) {
	if id < 0 || int(id) >= len(t.tokens) || t.tokens[id] == "" {
		return "", false
	}
	return t.tokens[id], true
}

// Size is one more than the largest id: the rows that an embedding needs at least.
func (t *Tokenizer) Size() int { return len(t.tokens) }

// VocabSize is [Tokenizer.Size] without the added tokens, of which a text has only those that it names: some models
// have no rows for the last of them.
func (t *Tokenizer) VocabSize() int { return t.rows }

// IsSpecial reports whether id is an added token flagged as special.
func (t *Tokenizer) IsSpecial(id int32) bool { return t.special[id] }
