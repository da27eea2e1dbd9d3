package kernels

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"qlora-wgpu/gpu"
)

// Cell is one operation at one shape: a product, y [T, N] of x [T, K] or back, or attention over T tokens.
type Cell struct {
	Op                      string
	T                       int
	N, K                    int // of a product
	Heads, KVHeads, HeadDim int // of attention
	Window                  int // as Attention's
	SoftCap                 float32
}

// The operations of a Cell, by the names under which the variant table and the checks know them. BenchForward's weight
// is bfloat16, as the head's table; BenchF32Forward is the same operation with a float32 weight, to compare with.
const (
	BenchNF4Forward        = "matmul_nf4_forward"
	BenchNF4Backward       = "matmul_nf4_backward"
	BenchF32Forward        = "matmul_f32_forward"
	BenchForward           = "matmul_forward"
	BenchBackward          = "matmul_backward"
	BenchAttentionForward  = "attention_forward"
	BenchAttentionBackward = "attention_backward"
)

func (c Cell) String() string {
	return c.Op + " " + c.Shape()
}

// Shape is its sizes.
func (c Cell) Shape() string {
	if c.Heads == 0 {
		return fmt.Sprintf("T%d N%d K%d", c.T, c.N, c.K)
	}
	shape := fmt.Sprintf("T%d H%d KVH%d D%d", c.T, c.Heads, c.KVHeads, c.HeadDim)
	if c.Window > 0 {
		shape += fmt.Sprintf(" W%d", c.Window)
	}
	if c.SoftCap > 0 {
		shape += fmt.Sprintf(" cap%g", c.SoftCap)
	}
	return shape
}

// Flops is what the operation needs, whatever its kernels compute twice: 2 T N K of a product; of attention, for every
// pair of a query and a key that it sees, two products of HeadDim elements forward and five backward.
func (c Cell) Flops() int64 {
	pairs := seenPairs(c.T, 0, c.Window) * int64(c.Heads)
	switch c.Op {
	case BenchAttentionForward:
		return 4 * int64(c.HeadDim) * pairs
	case BenchAttentionBackward:
		return 10 * int64(c.HeadDim) * pairs
	}
	return 2 * int64(c.T) * int64(c.N) * int64(c.K)
}

// Bytes is operands and results, each counted once.
func (c Cell) Bytes() int64 {
	activations := 4 * int64(c.T) * int64(c.N+c.K)
	weights := int64(c.N) * int64(c.K)
	rows := 4 * int64(c.T) * int64(c.Heads+c.KVHeads) * int64(c.HeadDim)
	switch c.Op {
	case BenchAttentionForward:
		return 2 * rows // q, o; k, v
	case BenchAttentionBackward:
		return 4 * rows // q, o, do, dq; k, v, dk, dv
	case BenchF32Forward:
		return activations + 4*weights
	case BenchForward, BenchBackward:
		return activations + 2*weights
	}
	return activations + weights*33/64 // 4 bits and, for 64 of them, 8
}

// unsharded is the largest buffer of the cell that one binding has to hold.
func (c Cell) unsharded() int64 {
	wide := max(c.N, c.K, c.Heads*c.HeadDim)
	most := gpu.F32.Size(c.T * wide)
	if c.Op == BenchNF4Forward || c.Op == BenchNF4Backward {
		most = max(most, int64(c.N)*int64(c.K)*33/64+8<<10) // in a run it is sharded
	}
	return most
}

// tuned is the operation under which the cell's variants are known.
func (c Cell) tuned() string {
	if c.Op == BenchF32Forward {
		return BenchForward
	}
	return c.Op
}

// NoVariant says that an operation has no variant of this name.
type NoVariant struct {
	Name string
	Have []string
}

func (e NoVariant) Error() string {
	return fmt.Sprintf("there is no variant %s, but %s", e.Name, strings.Join(e.Have, ", "))
}

// TooBig says that a cell does not fit the device.
type TooBig struct{ Wanted, Had int64 }

func (e TooBig) Error() string {
	return fmt.Sprintf("%d bytes are wanted in one piece, the device has %d", e.Wanted, e.Had)
}

// Measure is the least time of the cell with a variant; where that is empty, with the recorded choice or else the
// fastest of a few runs. It returns the variant's name; empty: by a rule. The error is NoVariant, or TooBig or the
// device's *gpu.OutOfMemory where the shape does not fit.
func (m Meter) Measure(ctx context.Context, c Cell, variant string) (took Took, chosen string, err error) {
	if wanted, had := c.unsharded(), m.Device.Limits.MaxBindingBytes; wanted > had {
		return took, "", TooBig{wanted, had}
	}
	op := c.tuned()
	if have := VariantsOn(m.Device, op); variant != "" && !slices.Contains(have, variant) {
		return took, "", NoVariant{variant, have}
	}
	if variant == "" {
		if variant, err = m.choose(ctx, c); err != nil {
			return took, "", err
		}
	}
	record, release, err := find(op).record(m.Device, c)
	defer release()
	if err != nil {
		return took, "", err
	}
	m.Device.Variants.Force(op, variant)
	defer m.Device.Variants.Force(op, "")
	took, err = m.Best(ctx, record)
	return took, variant, err
}

// choose is the recorded choice of a product's variant, or the fastest at a part of a tall matrix.
func (m Meter) choose(ctx context.Context, c Cell) (string, error) {
	op := c.tuned()
	if c.Heads > 0 {
		return "", nil
	}
	if c.Op != BenchF32Forward { // whose weights no run has
		if name := m.Device.Variants.Choose(op, matmulClass(c.T, c.N, c.K), ""); name != "" {
			return name, nil
		}
	}
	part := c.sample(m.Device)
	if kindOf(m.Device) == graphics { // fills a fast GPU; this can take longer than the autotune
		part.N = max(64, min(c.N, tuneFlops(m.Device)<<4/(2*c.T*c.K)/4*4))
	}
	of := find(op)
	record, release, err := of.record(m.Device, part)
	defer release()
	if err != nil {
		return "", err
	}
	m.Limit = min(m.Limit, 20*time.Millisecond)
	best, least := "", Took{}
	for _, name := range of.candidates(m.Device, c) {
		m.Device.Variants.Force(op, name)
		took, err := m.Best(ctx, record)
		m.Device.Variants.Force(op, "")
		if err != nil {
			return "", err
		}
		if best == "" || took.less(m.Device, least) {
			best, least = name, took
		}
	}
	return best, nil
}

// maker makes operands of zeros, since speed does not depend on values, until something does not fit.
type maker struct {
	dev    *gpu.Device
	made   []*gpu.Tensor
	tooBig bool // for one binding
	err    error
}

func (m *maker) tensor(dtype gpu.DType, rows, cols int) (t *gpu.Tensor) {
	if m.err == nil {
		if t, m.err = m.dev.NewUniformTensor("bench", dtype, rows, cols); m.err == nil {
			m.made = append(m.made, t)
		}
	}
	return t
}

// words are n words, the i-th of which is value(i).
func (m *maker) words(n int, value func(i int) int) *gpu.Tensor {
	t := m.tensor(gpu.U32, 1, n)
	if m.err == nil {
		words := make([]uint32, n)
		for i := range words {
			words[i] = uint32(value(i))
		}
		r := t.Single()
		m.err = r.Buffer.Write(r.Offset, gpu.Uint32Bytes(words))
	}
	return t
}

func (m *maker) bindingTooBig(bytes int64) bool {
	m.tooBig = m.tooBig || bytes > m.dev.Limits.MaxBindingBytes
	return m.tooBig
}

// activationsTooBig: a product's x or y cannot be bound.
func (m *maker) activationsTooBig(c Cell) bool {
	return m.bindingTooBig(gpu.F32.Size(c.T * max(c.N, c.K)))
}

func (m *maker) release() {
	for _, t := range m.made {
		t.Release()
	}
}
