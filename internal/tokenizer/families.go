package tokenizer

import "golang.org/x/text/unicode/norm"

// The patterns of pre-tokenizers that other formats than tokenizer.json name or imply.
const (
	contractions = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	lineEnds     = `|\s*[\r\n]+|\s+(?!\S)|\s+`

	gpt2Pattern   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	llama3Pattern = contractions + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*` + lineEnds
	qwen2Pattern  = contractions + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*` + lineEnds
	qwen35Pattern = contractions + `|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*` + lineEnds

	// words that begin with capitals or are of them
	capitals      = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
	smalls        = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
	tekkenPattern = capitals + `*` + smalls + `+|` + capitals + `+` + smalls + `*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*` + lineEnds
	gpt4oPattern  = capitals + `*` + smalls + `+` + contractions + `?|` + capitals + `+` + smalls + `*` + contractions +
		`?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*` + lineEnds

	deepseek3Pattern = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+" +
		`|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*` + lineEnds

	punctuationPattern = "[\\p{P}!-/:-@\\[-`{-~]"
)

// preTokenization is what tokenizer.ggml.pre stands for: what of the tokenizer.json that a GGUF file was converted from
// is not in its lists.
type preTokenization struct {
	patterns     []string // every match of each is a piece
	digits       bool     // before, every digit is
	nfc          bool     // texts are brought to this form
	ignoreMerges bool     // words that are tokens are not merged
}

var (
	ofGPT2   = preTokenization{patterns: []string{gpt2Pattern}}
	ofSmolLM = preTokenization{patterns: []string{gpt2Pattern}, digits: true}
	ofLlama3 = preTokenization{patterns: []string{llama3Pattern}, ignoreMerges: true}
	// ofCL100K is GPT-4's, which Phi-4 and OLMo 2 took over.
	ofCL100K = preTokenization{patterns: []string{llama3Pattern}}
	ofQwen2  = preTokenization{patterns: []string{qwen2Pattern}, nfc: true}
	ofTekken = preTokenization{patterns: []string{tekkenPattern}, ignoreMerges: true}
	ofGPT4o  = preTokenization{patterns: []string{gpt4oPattern}}
)

var preTokenizations = map[string]preTokenization{
	"default": ofGPT2, "gpt-2": ofGPT2, "phi-2": ofGPT2, "mpt": ofGPT2, "olmo": ofGPT2,
	"smollm": ofSmolLM, "starcoder": ofSmolLM, "refact": ofSmolLM,
	"llama-bpe": ofLlama3, "llama3": ofLlama3, "llama-v3": ofLlama3,
	"dbrx": ofCL100K, "smaug-bpe": ofCL100K,
	"qwen2": ofQwen2, "deepseek-r1-qwen": ofQwen2, "megrez": ofQwen2, "qwen35": {patterns: []string{qwen35Pattern}, nfc: true},
	"tekken": ofTekken,
	"gpt-4o": ofGPT4o, "llama4": ofGPT4o,
	"deepseek-v3": {patterns: []string{`\p{N}{1,3}`, `[一-龥぀-ゟ゠-ヿ]+`, deepseek3Pattern}},
}

// configure has a tokenizer cut texts so.
func (p preTokenization) configure(d *definition) {
	d.ignoreMerges = p.ignoreMerges
	if p.nfc {
		d.normalizers = []normalizer{unicodeForm(norm.NFC)}
	}
	if p.digits {
		d.preTokenizers = append(d.preTokenizers, digits(true))
	}
	for _, text := range p.patterns {
		d.preTokenizers = append(d.preTokenizers, isolated(text))
	}
}

// isolated makes every match of a pattern of this package a piece.
func isolated(text string) preTokenizer {
	return split(mustCompile(text).find, behaviors["Isolated"], false)
}

// isolatedOnly leaves out what lies between the matches of a pattern of this package.
func isolatedOnly(text string) preTokenizer {
	return split(mustCompile(text).find, behaviors["Removed"], true)
}

func mustCompile(text string) *pattern {
	p, err := compilePattern(text)
	if err != nil {
		panic(err)
	}
	return p
}
