package tokenizer

import (
	"fmt"
)

// Vocabulary is the tokenizer in a GGUF file's metadata.
type Vocabulary struct {
	Model  string   // tokenizer.ggml.model
	Pre    string   // tokenizer.ggml.pre
	Tokens []string // tokenizer.ggml.tokens, by id
	Types  []int    // tokenizer.ggml.token_type, by id
	Merges []string // tokenizer.ggml.merges, "a b" by rank
	// tokens that a text begins and ends with (add_bos_token, add_eos_token); empty: none
	Before, After string
}

// Token types of GGUF that are matched in the text before anything else (llama_token_type in llama.cpp).
const (
	typeControl     = 3
	typeUserDefined = 4
)

// preTokenizations names what tokenizer.ggml.pre stands for: the pre-tokenizers, and for Qwen2 the normalizer, of the
// tokenizer.json that the GGUF file was converted from.
var preTokenizations = map[string]func(d *definition){
	"default": gpt2, "gpt-2": gpt2, "phi-2": gpt2, "mpt": gpt2,
	"smollm": smollm, "starcoder": smollm, "refact": smollm,
	"llama-bpe": llama3, "llama3": llama3, "llama-v3": llama3,
	"qwen2": qwen2, "deepseek-r1-qwen": qwen2,
}

func gpt2(d *definition) { d.preTokenizers = []preTokenizer{isolated(gpt2Pattern)} }

func smollm(d *definition) { d.preTokenizers = []preTokenizer{digits(true), isolated(gpt2Pattern)} }

func llama3(d *definition) {
	d.ignoreMerges = true
	d.preTokenizers = []preTokenizer{isolated(llama3Pattern)}
}

func qwen2(d *definition) {
	d.normalize = nfc
	d.preTokenizers = []preTokenizer{isolated(qwen2Pattern)}
}

// FromVocabulary builds the tokenizer that a GGUF file's metadata describes: byte-level BPE ("gpt2") with a known
// pre-tokenization; others are refused by name. path is for messages.
func FromVocabulary(v Vocabulary, path string) (*Tokenizer, error) {
	if v.Model != "gpt2" {
		return nil, unsupported(path, "tokenizer model %q", v.Model).At("tokenizer.ggml.model").
			Hinted("byte-level BPE, named gpt2 in GGUF, is supported")
	}
	configure, ok := preTokenizations[v.Pre]
	if !ok {
		return nil, unsupported(path, "pre-tokenization %q", v.Pre).At("tokenizer.ggml.pre").
			Hinted("use the model's tokenizer.json")
	}
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
		if len(v.Types) > 0 && (v.Types[id] == typeControl || v.Types[id] == typeUserDefined) {
			d.added = append(d.added, AddedToken{ID: int32(id), Content: token, Special: v.Types[id] == typeControl})
		}
	}
	for i, m := range v.Merges {
		pair, err := splitMerge(m)
		if err != nil {
			return nil, fail(path, "%v", err).At("%s", fmt.Sprintf("tokenizer.ggml.merges[%d]", i))
		}
		d.merges = append(d.merges, pair)
	}
	configure(d)
	for token, ids := range map[string]*[]int32{v.Before: &d.around.before, v.After: &d.around.after} {
		if id, ok := d.vocabulary[token]; ok {
			*ids = []int32{id}
		}
	}
	return d.build()
}
