package frozen

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/nf4"
)

// Floats keeps weights unquantized. A shard is one piece, its rows.
type Floats struct{ dtype gpu.DType }

var (
	// BFloat16 is as weights are in most model files; others are rounded to the nearest.
	BFloat16 = Floats{gpu.BF16}
	// Float32 is exact for every file, and takes twice as much: it is for measuring what files hold.
	Float32 = Floats{gpu.F32}
)

func (f Floats) String() string { return "weights in " + f.Key() }
func (Floats) Cached() bool     { return false } // the model file is as quick to read
func (Floats) Header() []byte   { return nil }

func (f Floats) Key() string {
	if f.dtype == gpu.F32 {
		return "float32"
	}
	return "bfloat16"
}

func (f Floats) Of(string) Format { return f }

func (Floats) Together(int) int { return 1 }

// RowStep is the rows of a partial sum of the backward product, so that a cut changes no byte of it (see
// kernels.MatmulBackward). Only where a part does not hold them it is less; 8 rows begin on a binding boundary in
// float32 too.
func (f Floats) RowStep(k int, limit int64) int {
	for _, step := range []int{256, 64} {
		if f.Bytes(step, k) <= limit {
			return step
		}
	}
	return 8
}

func (f Floats) Bytes(rows, k int) int64 { return int64(Aligned(f.words(rows, k))) * wordBytes }

func (f Floats) Pieces(_, rows, k int) []int { return []int{f.words(rows, k)} }

func (f Floats) words(rows, k int) int { return int(f.dtype.Size(rows*k)) / wordBytes }

// Attach has nothing to take: all is in the bytes.
func (Floats) Attach(*Weight, int, []byte) {}

func (f Floats) Open(w *Weight, parts []gpu.Range) Linear {
	open := &floatsLinear{weight: &gpu.Tensor{Name: w.Name, DType: f.dtype, Rows: w.N, Cols: w.K}}
	for _, s := range w.Shards {
		part := parts[s.Part]
		at := gpu.Range{
			Buffer: part.Buffer, Offset: part.Offset + int64(s.Pieces[0])*wordBytes, Size: f.dtype.Size(s.Rows * w.K),
		}
		open.weight.Shards = append(open.weight.Shards, gpu.Shard{Range: at, Row: s.Row, Rows: s.Rows})
		if s.Bias != kernels.NoBias {
			open.bias = append(open.bias, kernels.Vector{Range: part, Offset: s.Bias})
		}
	}
	return open
}

type floatsLinear struct {
	weight *gpu.Tensor
	bias   []kernels.Vector // of each shard; nil: none
}

func (l *floatsLinear) Forward(rec *gpu.Recorder, y, x *gpu.Tensor) {
	kernels.MatmulForward(rec, y, x, l.weight, 1, false)
	for i, bias := range l.bias {
		s := l.weight.Shards[i]
		kernels.BiasAddForward(rec, y, bias, s.Row, s.Rows)
	}
}

func (l *floatsLinear) Backward(rec *gpu.Recorder, dx, dy *gpu.Tensor, accumulate bool) {
	kernels.MatmulBackward(rec, dx, dy, l.weight, 1, accumulate)
}

func (l *floatsLinear) Dequantize(rec *gpu.Recorder, w *gpu.Tensor) {
	for _, s := range l.weight.Shards {
		shard := &gpu.Tensor{
			Name: l.weight.Name, DType: l.weight.DType, Rows: s.Rows, Cols: w.Cols,
			Shards: []gpu.Shard{{Range: s.Range, Rows: s.Rows}},
		}
		if to := w.Slice(s.Row, s.Rows); shard.DType == gpu.BF16 {
			kernels.UnpackBF16(rec, to, shard)
		} else {
			at := to.Single()
			at.Size = s.Range.Size
			rec.Copy(at, s.Range)
		}
	}
}

func (f Floats) Writer(w *Weight, parts [][]byte) Writer { return &floatsWriter{w, parts, f.dtype} }

type floatsWriter struct {
	weight *Weight
	parts  [][]byte
	dtype  gpu.DType
}

func (w *floatsWriter) Rows(row int, values []float32) (notFinite int) {
	w.weight.each(row, values, func(s *Shard, row int, values []float32) {
		if w.dtype == gpu.F32 {
			PutFloats(w.parts[s.Part], s.Pieces[0]+uint32((row-s.Row)*w.weight.K), values)
			return
		}
		at := int64(s.Pieces[0])*wordBytes + gpu.BF16.Size((row-s.Row)*w.weight.K)
		gpu.PutBFloat16(w.parts[s.Part][at:at+gpu.BF16.Size(len(values))], values)
	})
	return nf4.FirstNonFinite(values)
}

func (w *floatsWriter) Finish(bias []float32) { w.weight.finishBias(w.parts, bias) }
