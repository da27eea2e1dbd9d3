package frozen

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/nf4"
)

// BFloat16 keeps weights unquantized, in 16 bits: as they are in most model files, others rounded to the nearest. A
// shard is one piece, its rows.
type BFloat16 struct{}

func (BFloat16) String() string { return "weights in bfloat16" }
func (BFloat16) Key() string    { return "bfloat16" }
func (BFloat16) Cached() bool   { return false } // the model file is as quick to read
func (BFloat16) Header() []byte { return nil }

func (f BFloat16) Of(string) Format { return f }

func (BFloat16) Together(int) int { return 1 }

// RowStep is the rows of a partial sum of the backward product, so that a cut changes no byte of it (see
// kernels.MatmulBackward). Only where a part does not hold them it is less; 8 rows begin on a binding boundary in
// float32 too.
func (f BFloat16) RowStep(k int, limit int64) int {
	for _, step := range []int{256, 64} {
		if f.Bytes(step, k) <= limit {
			return step
		}
	}
	return 8
}

func (f BFloat16) Bytes(rows, k int) int64 { return int64(Aligned(f.words(rows, k))) * wordBytes }

func (f BFloat16) Pieces(_, rows, k int) []int { return []int{f.words(rows, k)} }

func (BFloat16) words(rows, k int) int { return int(gpu.BF16.Size(rows*k)) / wordBytes }

// Attach has nothing to take: all is in the bytes.
func (BFloat16) Attach(*Weight, int, []byte) {}

func (BFloat16) Open(w *Weight, parts []gpu.Range) Linear {
	open := &bfloat16Linear{weight: &gpu.Tensor{Name: w.Name, DType: gpu.BF16, Rows: w.N, Cols: w.K}}
	for _, s := range w.Shards {
		part := parts[s.Part]
		at := gpu.Range{
			Buffer: part.Buffer, Offset: part.Offset + int64(s.Pieces[0])*wordBytes, Size: gpu.BF16.Size(s.Rows * w.K),
		}
		open.weight.Shards = append(open.weight.Shards, gpu.Shard{Range: at, Row: s.Row, Rows: s.Rows})
		if s.Bias != kernels.NoBias {
			open.bias = append(open.bias, kernels.Vector{Range: part, Offset: s.Bias})
		}
	}
	return open
}

type bfloat16Linear struct {
	weight *gpu.Tensor
	bias   []kernels.Vector // of each shard; nil: none
}

func (l *bfloat16Linear) Forward(rec *gpu.Recorder, y, x *gpu.Tensor) {
	kernels.MatmulForward(rec, y, x, l.weight, 1, false)
	for i, bias := range l.bias {
		s := l.weight.Shards[i]
		kernels.BiasAddForward(rec, y, bias, s.Row, s.Rows)
	}
}

func (l *bfloat16Linear) Backward(rec *gpu.Recorder, dx, dy *gpu.Tensor, accumulate bool) {
	kernels.MatmulBackward(rec, dx, dy, l.weight, 1, accumulate)
}

func (l *bfloat16Linear) Dequantize(rec *gpu.Recorder, w *gpu.Tensor) {
	for _, s := range l.weight.Shards {
		shard := &gpu.Tensor{
			Name: l.weight.Name, DType: gpu.BF16, Rows: s.Rows, Cols: w.Cols,
			Shards: []gpu.Shard{{Range: s.Range, Rows: s.Rows}},
		}
		kernels.UnpackBF16(rec, w.Slice(s.Row, s.Rows), shard)
	}
}

func (BFloat16) Writer(w *Weight, parts [][]byte) Writer { return &bfloat16Writer{w, parts} }

type bfloat16Writer struct {
	weight *Weight
	parts  [][]byte
}

func (w *bfloat16Writer) Rows(row int, values []float32) (notFinite int) {
	w.weight.each(row, values, func(s *Shard, row int, values []float32) {
		at := int64(s.Pieces[0])*wordBytes + gpu.BF16.Size((row-s.Row)*w.weight.K)
		gpu.PutBFloat16(w.parts[s.Part][at:at+gpu.BF16.Size(len(values))], values)
	})
	return nf4.FirstNonFinite(values)
}

func (w *bfloat16Writer) Finish(bias []float32) { w.weight.finishBias(w.parts, bias) }
