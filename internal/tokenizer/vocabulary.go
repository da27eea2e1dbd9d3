package tokenizer

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Vocabulary is the tokenizer in a GGUF file's metadata, or in SentencePiece's tokenizer.model.
type Vocabulary struct {
	Model  string    // tokenizer.ggml.model: "gpt2" (BPE of bytes by merges) or "llama" (BPE of characters by scores)
	Pre    string    // tokenizer.ggml.pre, of gpt2
	Tokens []string  // tokenizer.ggml.tokens, by id
	Types  []int     // tokenizer.ggml.token_type, by id
	Merges []string  // tokenizer.ggml.merges, "a b" by rank; of gpt2
	Scores []float32 // tokenizer.ggml.scores, by id; of llama
	// a space is put in front of a text (add_space_prefix); of llama
	AddSpacePrefix bool
	// several spaces count as one, and none counts at the ends of a text (remove_extra_whitespaces); of llama
	CollapseSpaces bool
	// user-defined tokens are looked for in the text as it is merged, where spaces are ▁ and none is put behind them, as
	// SentencePiece does it; of llama. Else in the text as it is given, as llama.cpp does it.
	Normalized bool
	// tokens that a text begins and ends with (add_bos_token, add_eos_token); empty: none
	Before, After string
	// Beside are tokens that other files name, in the order in which they take effect.
	Beside []AddedToken
}

// Token types of GGUF, which are those of SentencePiece (llama_token_type in llama.cpp).
const (
	typeNormal      = 1
	typeUnknown     = 2
	typeControl     = 3 // matched in the text before anything else, as what is user-defined
	typeUserDefined = 4
)

// FromVocabulary builds the tokenizer of a vocabulary: BPE of bytes with a known pre-tokenization, or SentencePiece's
// BPE by scores; others are refused by name. path is for messages.
func FromVocabulary(v Vocabulary, path string) (*Tokenizer, error) {
	d, err := v.definition(path)
	if err != nil {
		return nil, err
	}
	switch v.Model {
	case "gpt2":
		cuts, ok := preTokenizations[v.Pre]
		if !ok {
			err := unsupported(path, "pre-tokenization %q", v.Pre).At("tokenizer.ggml.pre").
				Hinted("train the model's folder from Hugging Face, whose tokenizer.json says what the name stands for")
			if v.Pre == "" {
				err.Err = errors.New("it is missing: nothing tells how texts are cut into words")
			}
			return nil, err
		}
		d.byteLevel = true
		for i, m := range v.Merges {
			pair, err := splitMerge(m)
			if err != nil {
				return nil, fail(path, "%v", err).At("%s", fmt.Sprintf("tokenizer.ggml.merges[%d]", i))
			}
			d.merges = append(d.merges, pair)
		}
		cuts.configure(d)
	case "llama":
		if err := v.byScores(d); err != nil {
			return nil, err
		}
	default:
		return nil, unsupported(path, "tokenizer model %q", v.Model).At("tokenizer.ggml.model").Hinted(onlyBPE)
	}
	d.addBeside(v.Beside)
	d.surroundBy(v.Before, v.After)
	return d.build()
}

// surroundBy has a text begin and end with tokens of the vocabulary.
func (d *definition) surroundBy(before, after string) {
	if id, ok := d.vocabulary[before]; ok {
		d.around.before = []int32{id}
	}
	if id, ok := d.vocabulary[after]; ok {
		d.around.after = []int32{id}
	}
}

// definition has the vocabulary and the added tokens in it.
func (v Vocabulary) definition(path string) (*definition, error) {
	if len(v.Tokens) > maxTokens {
		return nil, fail(path, "%d tokens, more than %d", len(v.Tokens), maxTokens).At("tokenizer.ggml.tokens")
	}
	if len(v.Types) != 0 && len(v.Types) != len(v.Tokens) {
		return nil, fail(path, "%d types for %d tokens", len(v.Types), len(v.Tokens)).At("tokenizer.ggml.token_type")
	}
	d := &definition{path: path, vocabulary: make(map[string]int32, len(v.Tokens))}
	for id, token := range v.Tokens {
		if other, ok := d.vocabulary[token]; ok {
			return nil, fail(path, "the ids %d and %d have the same token %.40q", other, id, token).At("tokenizer.ggml.tokens")
		}
		d.vocabulary[token] = int32(id)
		if kind := v.kind(id); kind == typeControl || kind == typeUserDefined {
			d.added = append(d.added, AddedToken{ID: int32(id), Content: token, Special: kind == typeControl})
		}
	}
	return d, nil
}

func (v Vocabulary) kind(id int) int {
	if len(v.Types) == 0 {
		return typeNormal
	}
	return v.Types[id]
}

// byScores configures SentencePiece's BPE.
func (v Vocabulary) byScores(d *definition) error {
	if len(v.Scores) != len(v.Tokens) {
		return fail(d.path, "%d scores for %d tokens", len(v.Scores), len(v.Tokens)).At("tokenizer.ggml.scores")
	}
	for id, score := range v.Scores {
		if math.IsNaN(float64(score)) {
			return fail(d.path, "the score of token %d is not a number", id).At("tokenizer.ggml.scores")
		}
	}
	if err := d.mergesByScore(v.Tokens, v.Scores, func(id int) bool { return v.kind(id) == typeNormal }); err != nil {
		return err
	}
	for i, a := range d.added {
		if !a.Special && v.Normalized {
			d.added[i].Normalized, d.added[i].wanted = true, strings.ReplaceAll(a.Content, " ", metaspace)
		}
	}
	if unknown := slices.Index(v.Types, typeUnknown); unknown >= 0 {
		d.unknown, d.fuseUnknown = &v.Tokens[unknown], true
		d.added = append(d.added, AddedToken{ID: int32(unknown), Content: v.Tokens[unknown], Special: true})
	}
	d.byteFallback = true
	if v.CollapseSpaces {
		d.normalizers = append(d.normalizers, replace(mustCompile(`\A +| +\z`).find, ""), replace(mustCompile(` {2,}`).find, " "))
	}
	d.normalizers = append(d.normalizers, replace(literal(" "), metaspace))
	d.decoding.steps = []decodingStep{{always: replace(literal(metaspace), " ")}, {always: decodeFallback}}
	if v.AddSpacePrefix {
		d.normalizers = append(d.normalizers, prepend(metaspace))
		d.decoding.strip, d.decoding.count = ' ', 1
	}
	return nil
}
