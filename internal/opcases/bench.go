package opcases

import (
	"math"
	"math/rand/v2"
	"slices"

	"qlora-wgpu/gpu"
)

// Bench is what a case works with: seeded inputs, guarded outputs, the recorder.
type Bench struct {
	Dev *gpu.Device
	Rec *gpu.Recorder
	// Tolerance is the variant's, as an NMSE; 0 for an operation without variants.
	Tolerance float64

	rng     *rand.Rand
	buffers []*gpu.Tensor
	outputs []output
	uploads []upload
	record  func()
}

type output struct {
	tensor    *gpu.Tensor // shape compared
	want      []float64
	allowance float64
	guard     gpu.Range // sentinels behind the tensor
	// decode makes the compared values of the tensor's bytes; nil: they are float32, one for each of want.
	decode func(data []byte) []float64
}

type upload struct {
	tensor *gpu.Tensor
	data   []byte
}

const (
	guardElements = 64
	sentinel      = float32(-12345.678)
)

// Values are n seeded numbers from N(0, std), already rounded to float32.
func (b *Bench) Values(n int, std float64) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(b.rng.NormFloat64() * std)
	}
	return out
}

// Intn is a seeded number in [0, n).
func (b *Bench) Intn(n int) int { return b.rng.IntN(n) }

// Input makes a device tensor with these values; BF16 values must be representable.
func (b *Bench) Input(name string, dtype gpu.DType, rows, cols int, values []float32) *gpu.Tensor {
	t := b.tensor(name, dtype, rows, cols)
	data := gpu.Float32Bytes(values)
	if dtype == gpu.BF16 {
		data = gpu.BFloat16Bytes(values)
	}
	b.uploads = append(b.uploads, upload{t, data})
	return t
}

// InputU32 makes a [1, n] tensor of words.
func (b *Bench) InputU32(name string, values []uint32) *gpu.Tensor {
	t := b.tensor(name, gpu.U32, 1, len(values))
	b.uploads = append(b.uploads, upload{t, gpu.Uint32Bytes(values)})
	return t
}

// Scratch makes a tensor that the kernel writes and nobody compares.
func (b *Bench) Scratch(name string, rows, cols int) *gpu.Tensor {
	return b.Input(name, gpu.F32, rows, cols, make([]float32, rows*cols))
}

// Output makes a tensor that must hold want after the run, within the allowance (an NMSE). It starts from initial (for
// `+=` contracts) or, where initial is nil, from NaN, so that an element left unwritten is seen. Sentinels follow it.
func (b *Bench) Output(name string, rows, cols int, initial []float32, want []float64, allowance float64) *gpu.Tensor {
	n := rows * cols
	full := make([]float32, n+guardElements)
	for i := range full {
		switch {
		case i >= n:
			full[i] = sentinel
		case initial != nil:
			full[i] = initial[i]
		default:
			full[i] = float32(math.NaN())
		}
	}
	whole := b.Input(name, gpu.F32, 1, len(full), full)
	t := whole.View(rows, cols)
	b.outputs = append(b.outputs, output{tensor: t, want: want, allowance: allowance, guard: whole.Single()})
	return t
}

// Words is an output in words.
type Words struct {
	Name       string
	Rows, Cols int
	Initial    []uint32
	Decode     func(data []byte) []float64 // makes the values that are compared with Want
	Want       []float64
	Allowance  float64
}

// OutputWords makes a U32 tensor. Sentinels follow it.
func (b *Bench) OutputWords(w Words) *gpu.Tensor {
	words := slices.Clone(w.Initial)
	for range guardElements {
		words = append(words, math.Float32bits(sentinel))
	}
	whole := b.InputU32(w.Name, words)
	t := whole.View(w.Rows, w.Cols)
	b.outputs = append(b.outputs, output{tensor: t, want: w.Want, allowance: w.Allowance, guard: whole.Single(), decode: w.Decode})
	return t
}

func (b *Bench) tensor(name string, dtype gpu.DType, rows, cols int) *gpu.Tensor {
	t, err := b.Dev.NewUniformTensor(name, dtype, rows, cols)
	if err != nil {
		panic(err)
	}
	b.buffers = append(b.buffers, t)
	return t
}

// Record sets what is dispatched; it runs twice, each time from freshly written inputs and outputs.
func (b *Bench) Record(f func()) { b.record = f }

// float64s widens.
func float64s(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}
