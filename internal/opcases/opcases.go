// Package opcases holds, for every operation, the shapes it is tested at and the comparison with internal/reference.
// The tests, `qlora-wgpu check` and the page's self-check all run these cases, for every variant. The tolerance of an
// operation with variants is the variant's, in internal/kernels; that of another stands here, with its reason.
//
// A case runs its kernel twice on the same inputs and asks for identical bytes, looks at the sentinels behind every
// output, and compares each output with the float64 reference by NMSE = sum((got-want)²)/sum(want²).
package opcases

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

// Case is one operation at one shape.
type Case struct {
	Op    string // stem of the kernel, and name of the operation in the variant table: "rms_norm_forward"
	Shape string // "T=37 C=576"
	// Run records the operation on inputs of its own making and declares the outputs with what they must be.
	Run func(b *Bench)
}

// On lists the variants of the case's operation that the device can run, or the empty one where there is nothing to
// choose.
func (c Case) On(dev *gpu.Device) []string {
	if !c.varies() {
		return []string{""}
	}
	return kernels.VariantsOn(dev, c.Op)
}

// varies reports whether the operation has variants.
func (c Case) varies() bool { return len(kernels.Variants(c.Op)) > 0 }

var registered []func() []Case

// register adds an operation's cases; each file of this package calls it once for its operation.
func register(cases func() []Case) bool {
	registered = append(registered, cases)
	return true
}

// All is every case of every operation.
func All() []Case {
	var all []Case
	for _, cases := range registered {
		all = append(all, cases()...)
	}
	return all
}

// OneOfEach is one case of every operation, the middle one of its list.
func OneOfEach() (some []Case) {
	byOp := map[string][]Case{}
	var order []string
	for _, c := range All() {
		if byOp[c.Op] == nil {
			order = append(order, c.Op)
		}
		byOp[c.Op] = append(byOp[c.Op], c)
	}
	for _, op := range order {
		some = append(some, byOp[op][len(byOp[op])/2])
	}
	return some
}
