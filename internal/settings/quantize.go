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

// Quantize is every setting of writing a model in 4 bits.
type Quantize struct {
	Source      `yaml:",inline"`
	Written     `yaml:",inline"`
	Block       `yaml:",inline"`
	DoubleQuant bool `json:"double_quant" name:"double-quant" default:"true" negatable:"" help:"Quantize the blocks' absmax too, to 8 bits."`
}

// Check checks all of them.
func (q Quantize) Check() error { return first(q.Source.Check(), q.Written.Check(), q.Block.Check()) }
