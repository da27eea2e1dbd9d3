package settings

import "strconv"

// Added are adapters, and what they are added to.
type Added struct {
	Adapters     []string `json:"adapters" name:"adapter" sep:"none" help:"Adapter to add: a folder of PEFT's or MLX's, a GGUF LoRA, or a name of the hub; given again, another one on top." placeholder:"PATH|NAME"`
	Base         string   `json:"base" name:"base" default:"original" help:"What adapters are added to: original, the weights of the model's files, or dequantized, those that training saw."`
	Quantization `yaml:",inline"`
	Drift        `yaml:",inline"`
}

// The values of base.
const (
	BaseOriginal    = "original"
	BaseDequantized = "dequantized"
)

// Check wants no setting that would be ignored.
func (a Added) Check() error {
	alone := len(a.Adapters) == 0
	d := Default[Quantization]()
	switch unused := a.Base == BaseOriginal && (alone || a.Report == ReportOff); {
	case unused && a.Quantize != d.Quantize:
		return Wrong("quantization", a.Quantize, "only with base dequantized, or a report on adapters")
	case unused && a.Quantization != d:
		return Wrong("block_size", strconv.Itoa(a.BlockSize), "only with base dequantized, or a report on adapters")
	case alone && a.Data != "":
		return Wrong("data", strconv.Quote(a.Data), "only with an adapter, on which the report is")
	case alone && a.Report == ReportOn:
		return Wrong("report", a.Report, "only with an adapter, on which the report is")
	}
	return first(oneOf("base", a.Base, BaseOriginal, BaseDequantized), a.Quantization.Check(), a.Drift.Check())
}

// Merge is every setting of merging adapters into their model.
type Merge struct {
	Source  `yaml:",inline"`
	Added   `yaml:",inline"`
	Written `yaml:",inline"`
}

// Check checks all of them.
func (m Merge) Check() error {
	if len(m.Adapters) == 0 {
		return Wrong("adapter", "empty", "the folder of an adapter, or its name on the hub")
	}
	return first(m.Source.Check(), m.Written.Check(), m.Added.Check())
}
