package kernels

import (
	"bytes"
	"context"
	"encoding/binary"
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
}

// The operations of a Cell. MatmulForward's weight is bfloat16, as the head's table; F32's is float32, to compare with.
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
	if c.Heads > 0 {
		return fmt.Sprintf("%s T%d H%d KVH%d D%d", c.Op, c.T, c.Heads, c.KVHeads, c.HeadDim)
	}
	return fmt.Sprintf("%s T%d N%d K%d", c.Op, c.T, c.N, c.K)
}

// Flops is what the operation needs, whatever its kernels compute twice: 2 T N K of a product; of attention, for every pair of a query and a key that it sees, two
// products of HeadDim elements forward and five backward.
func (c Cell) Flops() int64 {
	pairs := int64(c.Heads) * int64(c.T) * int64(c.T+1) / 2
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

// Measure is the least time of the cell with a variant; where that is empty, with the recorded choice or else the fastest of a few runs. It returns the variant's name; empty:
// by a rule. The error is NoVariant, or TooBig or the device's *gpu.OutOfMemory where the shape does not fit.
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
	record, release, err := c.record(m.Device)
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
	part := c
	part.T, part.N = sample(m.Device, c.T, c.N, c.K)
	if m.Device.Info.Type != "cpu" {
		part.N = max(64, min(c.N, tuneFlops(m.Device)<<4/(2*c.T*c.K)/4*4)) // fills a fast GPU; this can take longer than the autotune
	}
	record, release, err := part.record(m.Device)
	defer release()
	if err != nil {
		return "", err
	}
	m.Limit = min(m.Limit, 20*time.Millisecond)
	best, least := "", Took{}
	for _, name := range candidates(m.Device, op, c.T, c.N, c.K) {
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

// record makes operands, and gives what records the operation once. Speed does not depend on values but for the segment of attention, which is one. release frees the
// operands, also after an error.
func (c Cell) record(dev *gpu.Device) (record func(rec *gpu.Recorder), release func(), err error) {
	o := operands{dev: dev}
	switch c.Op {
	case BenchF32Forward:
		x, y, w := o.tensor(gpu.F32, c.T, c.K), o.tensor(gpu.F32, c.T, c.N), o.tensor(gpu.F32, c.N, c.K)
		return func(rec *gpu.Recorder) { MatmulForward(rec, y, x, w, 1, false) }, o.release, o.err
	case BenchAttentionForward, BenchAttentionBackward:
		wide, narrow := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
		q, out, lse := o.tensor(gpu.F32, c.T, wide), o.tensor(gpu.F32, c.T, wide), o.tensor(gpu.F32, c.T, c.Heads)
		k, v := o.tensor(gpu.F32, c.T, narrow), o.tensor(gpu.F32, c.T, narrow)
		a := Attention{Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Scale: 1, FirstKey: o.tensor(gpu.U32, 1, c.T), LastQuery: o.tensor(gpu.U32, 1, c.T)}
		if o.err == nil {
			last := a.LastQuery.Single()
			o.err = last.Buffer.Write(last.Offset, bytes.Repeat(binary.LittleEndian.AppendUint32(nil, uint32(c.T)), c.T))
		}
		if c.Op == BenchAttentionForward {
			return func(rec *gpu.Recorder) { AttentionForward(rec, out, lse, q, k, v, a) }, o.release, o.err
		}
		do, dq, stats := o.tensor(gpu.F32, c.T, wide), o.tensor(gpu.F32, c.T, wide), o.tensor(gpu.F32, c.T, 2*c.Heads)
		dk, dv := o.tensor(gpu.F32, c.T, narrow), o.tensor(gpu.F32, c.T, narrow)
		return func(rec *gpu.Recorder) { AttentionBackward(rec, dq, dk, dv, do, q, k, v, out, lse, stats, a) }, o.release, o.err
	}
	return newMatmulBench(dev, c.Op, c.T, c.N, c.K) // which fits, see unsharded
}

// operands makes tensors until one does not fit.
type operands struct {
	dev  *gpu.Device
	made []*gpu.Tensor
	err  error
}

func (o *operands) tensor(dtype gpu.DType, rows, cols int) (t *gpu.Tensor) {
	if o.err == nil {
		if t, o.err = o.dev.NewUniformTensor("bench", dtype, rows, cols); o.err == nil {
			o.made = append(o.made, t)
		}
	}
	return t
}

func (o *operands) release() {
	for _, t := range o.made {
		t.Release()
	}
}
