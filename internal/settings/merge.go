package settings

import "strconv"

// Merge is every setting of merging adapters into their model.
type Merge struct {
	Source       `yaml:",inline"`
	Adapters     []string `json:"adapters" name:"adapter" sep:"none" help:"PEFT adapter to add, a folder or a name of the hub; given again, another one on top." placeholder:"DIR|NAME"`
	Written      `yaml:",inline"`
	Base         string `json:"base" name:"base" default:"original" help:"What adapters are added to: original, the weights of the model's files, or dequantized, those that training saw."`
	Quantization `yaml:",inline"`
}

// The values of base.
const (
	BaseOriginal    = "original"
	BaseDequantized = "dequantized"
)

// Check checks all of them.
func (m Merge) Check() error {
	if d := Default[Quantization](); m.Base == BaseOriginal && m.Quantization != d {
		if m.Quantize != d.Quantize {
			return Wrong("quantization", m.Quantize, "only with base dequantized")
		}
		return Wrong("block_size", strconv.Itoa(m.BlockSize), "only with base dequantized")
	}
	if len(m.Adapters) == 0 {
		return Wrong("adapter", "empty", "the folder of an adapter, or its name on the hub")
	}
	return first(m.Source.Check(), m.Written.Check(), oneOf("base", m.Base, BaseOriginal, BaseDequantized), m.Quantization.Check())
}
