package parity

import (
	"fmt"
	"math"

	"qlora-wgpu/lora"
)

// allowances are how far a case may be from PyTorch.
type allowances struct {
	logits         float64 // NMSE; the forward pass is the same however activations are kept
	loss, gradNorm float64 // relative
	gradient       float64 // NMSE of each tensor of step 1
	adapter        float64 // NMSE of each tensor's change
}

var (
	// From the error of PyTorch's own float32 against float64 with room for another order of summation.
	exact = allowances{logits: 1e-9, loss: 5e-5, gradNorm: 2e-4, gradient: 1e-6, adapter: 3e-4}
	// In a model of few layers that error is 2.3e-7, 1.7e-6, 1e-11, 1e-12 and 1e-10 at most, as the cases' README has it,
	// and so is ours.
	shallow = allowances{logits: 1e-10, loss: 2e-6, gradNorm: 2e-5, gradient: 1e-9, adapter: 1e-7}
	// A bf16 has 8 bits: a kept activation is off by 2⁻⁹ at most and 1.1e-3 in the mean square, which is an NMSE of
	// 1.3e-6. A gradient takes in about ten such roundings, and the backward of softmax subtracts numbers near one
	// another: 1e-5 to 3e-5 came out on the first case, whose attention is flat, and up to 1.7e-4 where scores are larger
	// and keys have biases of 5; three times that is allowed. AdamW makes steps of one size of small gradients and large
	// ones, so later steps go other ways where a gradient is mostly rounding: losses differed by up to 1e-3, norms by
	// 1.2e-2, changes by 2.4e-3, and by 6.7e-3 where a layer knows no positions; that has room for half as much again at
	// least.
	rounded = allowances{logits: 1e-9, loss: 3e-3, gradNorm: 4e-2, gradient: 5e-4, adapter: 1e-2}
)

// shallowLinears is how many linears a model of few layers has at most.
const shallowLinears = 32

func (r *runner) allowed() allowances {
	switch {
	case r.Plan != nil && r.Plan.Rounded():
		return rounded
	case len(r.c.Quantized)+len(r.c.Frozen) <= shallowLinears:
		return shallow
	}
	return exact
}

// Use is how much of an allowance was used at most, and where.
type Use struct {
	Name      string  `json:"name"`
	Allowance float64 `json:"allowance"`
	Error     float64 `json:"error"`
	Where     string  `json:"where"`
}

// Used is the share of the allowance; above 1 the case failed.
func (u Use) Used() float64 { return u.Error / u.Allowance }

func (u Use) String() string {
	return fmt.Sprintf("%-20s %8.2g of %.0e: %5.1f %% used (%s)", u.Name, u.Error, u.Allowance, 100*u.Used(), u.Where)
}

func (u *Use) note(err float64, where string) {
	if math.IsNaN(err) {
		err = math.Inf(1)
	}
	if err >= u.Error {
		u.Error, u.Where = err, where
	}
}

// compare notes the NMSE of every tensor that is wanted, of its difference from before where that is given.
func compare(use *Use, got []lora.Tensor, want, before map[string][]float32) error {
	compared := 0
	for _, t := range got {
		w, ok := want[t.Name]
		if !ok {
			continue
		}
		use.note(nmse(t.Values, w, before[t.Name]), t.Name)
		compared++
	}
	if compared != len(want) || compared == 0 {
		return fmt.Errorf("%s: %d of %d tensors compared", use.Name, compared, len(want))
	}
	return nil
}

func nmse(got, want, before []float32) float64 {
	var diff, norm float64
	for i, w := range want {
		base := 0.0
		if before != nil {
			base = float64(before[i])
		}
		d := float64(got[i]) - float64(w)
		diff += d * d
		norm += (float64(w) - base) * (float64(w) - base)
	}
	return diff / norm
}
