package opcases

import (
	"encoding/binary"
	"fmt"
	"math"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/reference"
	"qlora-wgpu/paging"
)

var _ = register(matmulNF4)

// linearShape is one frozen weight under T tokens.
type linearShape struct {
	T, N, K   int
	bias      bool
	partBytes int64 // largest region part; 0 for the device's own limit
}

func (s linearShape) String() string {
	text := fmt.Sprintf("T=%d N=%d K=%d", s.T, s.N, s.K)
	if s.bias {
		text += " bias"
	}
	if s.partBytes > 0 {
		text += fmt.Sprintf(" parts=%dKiB", s.partBytes>>10)
	}
	return text
}

type nf4Shape struct {
	linearShape
	block  int
	single bool // without double quantization
}

func (s nf4Shape) String() string {
	text := fmt.Sprintf("%v block=%d", s.linearShape, s.block)
	if s.single {
		text += " single"
	}
	return text
}

// Around every tile in use (8, 16, 32, 64 tokens; 32 to 256 rows), rows of W that no tile divides, blocks that cross
// rows (block 4096 over K = 576, block 64 over K = 72), shards that begin inside a nested block, the 135M model's
// shapes; and absmax in float32, also where they fill more than a uniform window.
var nf4Shapes = []nf4Shape{
	{linearShape{T: 1, N: 4, K: 8}, 32, false},
	{linearShape{T: 1, N: 192, K: 576}, 64, false},
	// more rows than the windows of a dispatch of single tokens hold, and long ones
	{linearShape{T: 2, N: 132, K: 4096, bias: true}, 32, false},
	{linearShape{T: 40, N: 20, K: 264}, 64, false},
	{linearShape{T: 4, N: 60, K: 96, bias: true, partBytes: 4 << 10}, 64, false},
	{linearShape{T: 5, N: 36, K: 64, bias: true}, 64, false},
	{linearShape{T: 16, N: 128, K: 72}, 64, false},
	{linearShape{T: 31, N: 260, K: 128}, 32, false},
	{linearShape{T: 33, N: 64, K: 576, bias: true}, 4096, false},
	{linearShape{T: 64, N: 576, K: 320}, 128, false},
	{linearShape{T: 65, N: 192, K: 576, partBytes: 32 << 10, bias: true}, 64, false},
	{linearShape{T: 37, N: 576, K: 1536}, 64, false},
	{linearShape{T: 9, N: 1056, K: 2048}, 32, false}, // the absmax codes fill more than a uniform window
	{linearShape{T: 1, N: 192, K: 576}, 64, true},
	{linearShape{T: 4, N: 60, K: 96, bias: true, partBytes: 4 << 10}, 64, true},
	{linearShape{T: 33, N: 64, K: 72, bias: true}, 64, true},
	{linearShape{T: 9, N: 272, K: 2048}, 32, true},
}

// region quantizes random weights into a region on the device, and returns it with what the weights decode to.
func (b *Bench) region(s nf4Shape) (w frozen.Linear, dequantized, bias []float64) {
	values := b.Values(s.N*s.K, 0.05)
	stored, format := reference.NF4Quantize(values, s.block), frozen.NF4(s.block)
	if s.single {
		stored, format = reference.NF4QuantizeSingle(values, s.block), frozen.NF4Single(s.block)
	}
	w, bias = b.linear(format, s.linearShape, values)
	return w, stored.Dequantize(s.N * s.K), bias
}

// linear puts weights and a random bias into a region on the device.
func (b *Bench) linear(format frozen.Format, s linearShape, values []float32) (w frozen.Linear, bias []float64) {
	biases := b.Values(s.N, 0.5)
	limit := b.Dev.Limits.MaxBindingBytes
	if s.partBytes > 0 {
		limit = min(limit, s.partBytes)
	}
	layout := paging.NewLayout(format, limit)
	layout.AddLinear("w", format, s.N, s.K, s.bias)
	parts := layout.NewParts()
	writer := layout.Writer(parts, "w")
	writer.Rows(0, values)
	writer.Finish(biases)
	region := &paging.Region{Layout: layout}
	for i, part := range parts {
		words := make([]uint32, len(part)/4)
		for j := range words {
			words[j] = binary.LittleEndian.Uint32(part[4*j:])
		}
		region.Parts = append(region.Parts, b.InputU32(fmt.Sprintf("part %d", i), words).Single())
	}
	if s.bias {
		bias = float64s(biases)
	}
	return region.Linear("w"), bias
}

func matmulNF4() (cases []Case) {
	for _, s := range nf4Shapes {
		cases = append(cases,
			Case{Op: "matmul_nf4_forward", Shape: s.String(), Run: func(b *Bench) {
				w, dense, bias := b.region(s)
				x := b.Values(s.T*s.K, 1)
				in := b.Input("x", gpu.F32, s.T, s.K, x)
				y := b.Output("y", s.T, s.N, nil, reference.MatmulForward(float64s(x), dense, bias, s.T, s.N, s.K), b.Tolerance)
				b.Record(func() { w.Forward(b.Rec, y, in) })
			}},
			Case{Op: "matmul_nf4_backward", Shape: s.String(), Run: func(b *Bench) {
				w, dense, _ := b.region(s)
				dy, before := b.Values(s.T*s.N, 1), b.Values(s.T*s.K, 1)
				in := b.Input("dy", gpu.F32, s.T, s.N, dy)
				want := reference.MatmulBackwardInput(float64s(dy), dense, s.T, s.N, s.K)
				dx := b.Output("dx", s.T, s.K, nil, want, b.Tolerance)
				added := make([]float64, len(want))
				for i := range want {
					added[i] = want[i] + float64(before[i])
				}
				sum := b.Output("dx +=", s.T, s.K, before, added, b.Tolerance)
				b.Record(func() {
					w.Backward(b.Rec, dx, in, false)
					w.Backward(b.Rec, sum, in, true)
				})
			}},
			Case{Op: "dequantize_nf4_forward", Shape: s.String(), Run: func(b *Bench) {
				w, dense, _ := b.region(s)
				// One product, one sum and one product in float32; the compiler may fuse the first two, so a unit in the last place
				// is allowed: NMSE 2^-46.
				out := b.Output("w", s.N, s.K, nil, dense, 1.5e-14)
				b.Record(func() { w.Dequantize(b.Rec, out) })
			}})
	}
	return cases
}

// bf16 rounds to what bfloat16 holds.
func bf16(x []float32) []float32 {
	out := make([]float32, len(x))
	for i, b := range gpu.BFloat16Bytes(x) {
		if i/2 < len(out) {
			out[i/2] = math.Float32frombits(math.Float32bits(out[i/2]) | uint32(b)<<(16+8*(i&1)))
		}
	}
	return out
}
