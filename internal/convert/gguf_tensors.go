package convert

import (
	"errors"
	"math"

	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

// ggufTensor is a tensor of a GGUF file, and what it is made of: rows of one of the model's, or values.
type ggufTensor struct {
	gguf.Tensor
	values []float32
	source string // of the model
	first  int    // row of it that is the first here
	// headDim is how many rows of q or k, or elements of their biases, a head has, whose halves are put in turns; 0: they
	// stay as they are.
	headDim int
	bias    bool
	factor  float64 // of all values; 0: 1
}

// parts are the tensors that the architecture has, by the model's.
func (g *GGUF) parts(own spec.Family) (list []ggufTensor) {
	for _, t := range g.weights.model.Spec.Tensors() {
		for _, in := range own.InGGUF(t) {
			part := ggufTensor{Tensor: gguf.Tensor{Name: in.Name, Type: gguf.F32, Shape: []int{in.Rows, t.Cols}}, source: t.Name, first: in.First}
			if in.Rows == 1 {
				part.Shape = part.Shape[1:]
			}
			if g.family.Interleaved && t.Heads > 0 {
				part.bias = t.Role == spec.Bias
				part.headDim = part.features() / t.Heads
			}
			list = append(list, part)
		}
	}
	return list
}

// features are the outputs of the linear whose weight or bias it is.
func (t ggufTensor) features() int {
	if t.bias {
		return t.Cols()
	}
	return t.Rows()
}

// pieces are the tensor's bytes.
func (t ggufTensor) pieces(w *Weights) (list []piece) {
	if t.values != nil {
		return []piece{func() ([]byte, error) {
			data := make([]byte, t.Type.RowSize(len(t.values)))
			return data, t.Type.Quantize(data, t.values)
		}}
	}
	source, rows, cols := w.Open(t.source), t.Rows(), t.Cols()
	unit := 1
	if t.headDim > 0 && !t.bias {
		unit = t.headDim
	}
	most := max(1, pieceElements/cols/unit) * unit
	for first := 0; first < rows; first += most {
		n := min(most, rows-first)
		list = append(list, func() ([]byte, error) {
			values := make([]float64, n*cols)
			if err := source.Read(t.first+first, n, values); err != nil {
				return nil, err
			}
			if t.factor != 0 {
				for i := range values {
					values[i] *= t.factor
				}
			}
			if t.headDim > 0 {
				width := cols
				if t.bias {
					width = 1
				}
				values = inTurns(values, t.headDim, width)
			}
			return t.encode(source, t.first+first, values)
		})
	}
	return list
}

// inTurns puts the rows of heads in the order of llama.cpp.
func inTurns(rows []float64, headDim, width int) []float64 {
	out, stored := make([]float64, len(rows)), spec.StoredRow(headDim)
	for row := range len(rows) / width {
		to := stored(row)
		copy(out[to*width:(to+1)*width], rows[row*width:(row+1)*width])
	}
	return out
}

// floats are the types whose elements are rounded one by one.
var floats = map[gguf.Type]Type{gguf.F32: F32, gguf.F16: F16, gguf.BF16: BF16}

// encode makes bytes of whole rows. Floats are rounded once; what is quantized is float32 before.
func (t ggufTensor) encode(source *Tensor, first int, values []float64) ([]byte, error) {
	data := make([]byte, t.Type.RowSize(len(values)))
	if to, ok := floats[t.Type]; ok {
		return data, source.put(data, to, first, values)
	}
	narrow := make([]float32, len(values))
	for i, v := range values {
		narrow[i] = float32(v)
	}
	err := t.Type.Quantize(data, narrow)
	var far *gguf.OutOfRange
	if errors.As(err, &far) {
		if math.IsNaN(values[far.Index]) || math.IsInf(values[far.Index], 0) {
			return data, source.put(make([]byte, 4*len(values)), F32, first, values)
		}
		cols := t.Cols()
		return data, usererr.New(op, "", "element [%d,%d] of %s is %v, too large for %v", first+far.Index/cols, far.Index%cols, source.Name,
			far.Value, t.Type).Hinted("choose --type bf16 or f32")
	}
	return data, err
}
