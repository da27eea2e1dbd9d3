package settings

import "strings"

// GGUFFile is a GGUF file that is written.
type GGUFFile struct {
	Type string `json:"type" name:"type" default:"q8_0" help:"Types of the tensors of a GGUF file: f32, f16, bf16, q8_0, q4_0, or q4_k_m, the mixture that llama.cpp makes under this name."`
}

// Types are the values of type.
var Types = []string{"f32", "f16", "bf16", "q8_0", "q4_k_m", "q4_0"}

// ggufFile wants a name that llama.cpp and Ollama take for a GGUF file.
func ggufFile(output string) error {
	if !strings.HasSuffix(output, ".gguf") {
		return Wrong("output", output, "the name of a file that ends in .gguf")
	}
	return nil
}

// Export is every setting of writing a model for other programs.
type Export struct {
	Source   `yaml:",inline"`
	Added    `yaml:",inline"`
	Output   string `json:"output" name:"output" help:"File to write, which must not be there; its name ends in .gguf." placeholder:"FILE"`
	Format   string `json:"format" name:"format" default:"gguf" help:"gguf, which llama.cpp, Ollama and LM Studio read."`
	GGUFFile `yaml:",inline"`
	Ollama   bool `json:"ollama" name:"ollama" default:"false" help:"Write a Modelfile beside it, of which ollama create makes a model that is asked as this one was trained."`
}

// FormatGGUF is a value of format.
const FormatGGUF = "gguf"

// Check checks all of them.
func (e Export) Check() error {
	return first(e.Source.Check(), e.Added.Check(), filled("output", e.Output, "the name of a file that ends in .gguf"),
		oneOf("format", e.Format, FormatGGUF), oneOf("type", e.Type, Types...), ggufFile(e.Output))
}
