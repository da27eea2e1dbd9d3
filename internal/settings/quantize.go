package settings

// Written is a model that is written as a folder.
type Written struct {
	Output string `json:"output" name:"output" help:"Folder to write, which must not hold anything." placeholder:"DIR"`
	DType  string `json:"dtype" name:"dtype" default:"auto" help:"Type of the weights: bf16, f16, f32, or auto, that of the files (where these hold 4 bits the configuration's, or bf16)."`
}

// DTypeAuto is the value of dtype that leaves types as they are.
const DTypeAuto = "auto"

// Check wants a folder and a type that there is.
func (w Written) Check() error {
	return first(filled("output", w.Output, "a folder that is not there yet"), oneOf("dtype", w.DType, DTypeAuto, "bf16", "f16", "f32"))
}

// Quantize is every setting of writing a model in fewer bits.
type Quantize struct {
	Source      `yaml:",inline"`
	Written     `yaml:",inline"`
	Format      string `json:"format" name:"format" default:"nf4" help:"nf4, a Hugging Face folder in bitsandbytes' 4-bit NormalFloat, or gguf, a file of the given type."`
	Block       `yaml:",inline"`
	DoubleQuant bool `json:"double_quant" name:"double-quant" default:"true" negatable:"" help:"Quantize the blocks' absmax too, to 8 bits."`
	GGUFFile    `yaml:",inline"`
}

// Check checks all of them, and that none is for the other format.
func (q Quantize) Check() error {
	d := Default[Quantize]()
	if err := first(q.Source.Check(), q.Written.Check(), oneOf("format", q.Format, QuantizedNF4, FormatGGUF)); err != nil {
		return err
	}
	if q.Format == FormatGGUF {
		switch {
		case q.Block != d.Block || q.DoubleQuant != d.DoubleQuant:
			return Wrong("format", q.Format, "nf4 with a block size or without double quantization")
		case q.DType != d.DType:
			return Wrong("dtype", q.DType, "only with format nf4; a GGUF file has a type")
		}
		return first(oneOf("type", q.Type, Types...), ggufFile(q.Output))
	}
	if q.Type != d.Type {
		return Wrong("type", q.Type, "only with format gguf")
	}
	return q.Block.Check()
}
