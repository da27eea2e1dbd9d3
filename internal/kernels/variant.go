package kernels

import "qlora-wgpu/gpu"

// A Variant is one way to run an operation: what is known of it whatever the operands.
type Variant struct {
	Name string
	// Tolerance is how far a result may be from the float64 reference: NMSE = sum((got-want)²)/sum(want²).
	Tolerance float64
	// Needs is a feature that the device must have, by WebGPU's name; empty: none.
	Needs string

	made  kinds // of devices for which it is made; on others it is several times slower
	worth span  // of tokens for which it is worth measuring
	// a larger tile of its kind is faster, and each is seconds of compiling: not measured at many tokens
	outgrown bool
	parts    int         // of its sums, side by side; 1: they are not cut
	storage  []gpu.DType // of the matrix; nil: all that the operation takes

	shaders         []*shader // that only this family has, a product's first
	constants       map[string]uint32
	tokens, outputs int // of a workgroup's tile
}

// Shaders are the names of the shaders that are the variant's own, or its family's.
func (v *Variant) Shaders() (names []string) {
	for _, s := range v.shaders {
		names = append(names, s.name)
	}
	return names
}

// spec is the kernel of a variant with one.
func (v *Variant) spec() gpu.KernelSpec { return v.shaders[0].spec(v.constants) }

// specFor is the same for a matrix in F32 or BF16.
func (v *Variant) specFor(w *gpu.Tensor) gpu.KernelSpec {
	return v.shaders[0].spec(with(v.constants, "BF16", flag(w.DType == gpu.BF16)))
}

// kinds is a set of kinds of devices.
type kinds uint8

const (
	software        kinds = 1 << iota // a CPU behind a native driver
	softwareBrowser                   // a CPU behind a browser, whose compiler takes seconds for a large tile
	graphics                          // a GPU, and what does not say what it is

	cpus = software | softwareBrowser
)

func kindOf(dev *gpu.Device) kinds {
	switch {
	case dev.Info.Type != "cpu":
		return graphics
	case dev.Info.Backend == "browser":
		return softwareBrowser
	}
	return software
}

// span is a range of token counts; with to = 0 it has no end.
type span struct{ from, to int }

func (s span) holds(tokens int) bool { return tokens >= s.from && (s.to == 0 || tokens <= s.to) }

func exactly(tokens int) span { return span{tokens, tokens} }
func upTo(tokens int) span    { return span{0, tokens} }
func above(tokens int) span   { return span{tokens + 1, 0} }

// fewTokens is up to how many tokens variants for the single tokens of a generation are worth measuring.
const fewTokens = 8
