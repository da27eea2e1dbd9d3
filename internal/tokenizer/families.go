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

// preTokenizations names what tokenizer.ggml.pre stands for: the pre-tokenizers and the normalizer of the
// tokenizer.json that the GGUF file was converted from.
var preTokenizations = map[string]func(d *definition){
	"default": gpt2, "gpt-2": gpt2, "phi-2": gpt2, "mpt": gpt2, "olmo": gpt2,
	"smollm": smollm, "starcoder": smollm, "refact": smollm,
	"llama-bpe": llama3, "llama3": llama3, "llama-v3": llama3,
	"dbrx": cl100k, "smaug-bpe": cl100k,
	"qwen2": qwen2, "deepseek-r1-qwen": qwen2, "megrez": qwen2, "qwen35": qwen35,
	"tekken": tekken,
	"gpt-4o": gpt4o, "llama4": gpt4o,
	"deepseek-v3": deepseek3,
}

func gpt2(d *definition) { d.preTokenizers = []preTokenizer{isolated(gpt2Pattern)} }

func smollm(d *definition) { d.preTokenizers = []preTokenizer{digits(true), isolated(gpt2Pattern)} }

func llama3(d *definition) {
	d.ignoreMerges = true
	d.preTokenizers = []preTokenizer{isolated(llama3Pattern)}
}

// cl100k is GPT-4's, which Phi-4 and OLMo 2 took over.
func cl100k(d *definition) { d.preTokenizers = []preTokenizer{isolated(llama3Pattern)} }

func qwen2(d *definition) {
	d.normalizers = []normalizer{unicodeForm(norm.NFC)}
	d.preTokenizers = []preTokenizer{isolated(qwen2Pattern)}
}

func qwen35(d *definition) {
	d.normalizers = []normalizer{unicodeForm(norm.NFC)}
	d.preTokenizers = []preTokenizer{isolated(qwen35Pattern)}
}

func tekken(d *definition) {
	d.ignoreMerges = true
	d.preTokenizers = []preTokenizer{isolated(tekkenPattern)}
}

func gpt4o(d *definition) { d.preTokenizers = []preTokenizer{isolated(gpt4oPattern)} }

func deepseek3(d *definition) {
	d.preTokenizers = []preTokenizer{isolated(`\p{N}{1,3}`), isolated(`[一-龥぀-ゟ゠-ヿ]+`), isolated(deepseek3Pattern)}
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
