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

// place tells tensors of a layer apart.
type place struct {
	layer  int
	module string
	role   spec.Role
}

// parts are the tensors that the architecture has, by the model's.
func (g *GGUF) parts() (list []ggufTensor) {
	own := map[place]spec.Tensor{}
	for _, t := range g.weights.model.Spec.Tensors() {
		own[place{t.Layer, t.Module, t.Role}] = t
	}
	for _, t := range g.spec.Tensors() {
		part := ggufTensor{Tensor: gguf.Tensor{Name: t.GGUF, Type: gguf.F32, Shape: []int{t.Rows, t.Cols}}, bias: t.Role == spec.Bias}
		source, there := own[place{t.Layer, t.Module, t.Role}]
		if !there { // gate stands before up
			source = own[place{t.Layer, spec.GateUpProj, t.Role}]
			if t.Module == spec.UpProj {
				part.first = t.Rows
			}
		}
		part.source = source.Name
		if t.Rows == 1 {
			part.Shape = part.Shape[1:]
		}
		if g.family.Interleaved && t.Heads > 0 {
			part.headDim = max(t.Rows, 1) / t.Heads
			if part.bias {
				part.headDim = t.Cols / t.Heads
			}
		}
		list = append(list, part)
	}
	return list
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

// inTurns puts the two halves of each head's rows in turns, as llama.cpp rotates them: row i of a head goes to 2i, row
// i + headDim/2 to 2i + 1 (permute in convert_hf_to_gguf.py).
func inTurns(rows []float64, headDim, width int) []float64 {
	out := make([]float64, len(rows))
	half := headDim / 2
	for row := range len(rows) / width {
		i := row % headDim
		to := row - i + i%half*2 + i/half
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
