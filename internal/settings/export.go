package settings

import (
	"strconv"
	"strings"
)

// GGUFFile is a GGUF file that is written.
type GGUFFile struct {
	Type string `json:"type" name:"type" default:"auto" help:"Types of the tensors of a GGUF file: f32, f16, bf16, q8_0, q4_0, or q4_k_m, the mixture that llama.cpp makes under this name; auto is q8_0, of an adapter f32."`
}

// TypeAuto is the value of type that leaves the choice to what is written.
const TypeAuto = "auto"

// Types are the values of type; those of an adapter have no blocks, which would cut its ranks.
var (
	Types        = []string{"f32", "f16", "bf16", "q8_0", "q4_k_m", "q4_0", TypeAuto}
	adapterTypes = []string{"f32", "f16", "bf16", TypeAuto}
)

// ggufFile wants a name that llama.cpp and Ollama take for a GGUF file.
func ggufFile(output string) error {
	if !strings.HasSuffix(output, ".gguf") {
		return Wrong("output", output, "the name of a file that ends in .gguf")
	}
	return nil
}

// Export is every setting of writing a model for other programs.
type Export struct {
	Source      `yaml:",inline"`
	Added       `yaml:",inline"`
	Output      string `json:"output" name:"output" help:"File to write, which must not be there; its name ends in .gguf. With format mlx a folder, which must not hold anything." placeholder:"PATH"`
	Format      string `json:"format" name:"format" default:"gguf" help:"gguf, which llama.cpp, Ollama and LM Studio read, or mlx, of the adapter alone, which mlx-lm reads."`
	AdapterOnly bool   `json:"adapter_only" name:"adapter-only" default:"false" help:"Write the adapter alone, which is loaded over the model."`
	GGUFFile    `yaml:",inline"`
	Ollama      bool `json:"ollama" name:"ollama" default:"false" help:"Write a Modelfile beside it, of which ollama create makes a model that is asked as this one was trained."`
}

// The values of format.
const (
	FormatGGUF = "gguf"
	FormatMLX  = "mlx"
)

// OfAdapter tells whether the adapter is written without the model.
func (e Export) OfAdapter() bool { return e.AdapterOnly || e.Format == FormatMLX }

// Check checks all of them, and that none would be ignored.
func (e Export) Check() error {
	err := first(e.Source.Check(), e.Added.Check(),
		filled("output", e.Output, "the name of a file that ends in .gguf, or with format mlx of a folder"),
		oneOf("format", e.Format, FormatGGUF, FormatMLX))
	if err == nil && e.OfAdapter() {
		err = first(e.checkAlone(), oneOf("type", e.Type, adapterTypes...))
	}
	if err == nil && e.Format == FormatMLX {
		switch {
		case e.Type != TypeAuto:
			return Wrong("type", e.Type, "only with format gguf")
		case e.Ollama:
			return Wrong("ollama", "true", "only with format gguf")
		}
		return nil
	}
	return first(err, oneOf("type", e.Type, Types...), ggufFile(e.Output))
}

// checkAlone wants an adapter, and nothing that only a model that is written has.
func (e Export) checkAlone() error {
	const with = "only with a model, not with an adapter alone"
	switch d := Default[Added](); {
	case len(e.Adapters) == 0:
		return Wrong("adapter", "empty", "with an adapter alone its folder or file, or its name on the hub")
	case e.Base != d.Base:
		return Wrong("base", e.Base, with)
	case e.Quantize != d.Quantize:
		return Wrong("quantization", e.Quantize, with)
	case e.BlockSize != d.BlockSize:
		return Wrong("block_size", strconv.Itoa(e.BlockSize), with)
	case e.Data != "":
		return Wrong("data", strconv.Quote(e.Data), with)
	case e.Report == ReportOn:
		return Wrong("report", e.Report, with)
	}
	return nil
}
