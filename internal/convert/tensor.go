package convert

import (
	"fmt"
	"math"
	"sync"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/nf4"
)

// Tensor is one of the model's with the adapters merged in. Rows may be called concurrently.
type Tensor struct {
	Name       string
	Rows, Cols int
	weights    *Weights
	lessOne    bool // of a norm, as families have it whose files hold its weight so
	prepare    sync.Once
	held       []float32 // all values where they have to be made together
	failed     error
}

// Open gives one of the model's tensors by its name. It panics where there is none.
func (w *Weights) Open(name string) *Tensor {
	t, ok := w.model.Lookup(name)
	if !ok {
		panic(fmt.Sprintf("convert: no tensor %s", name))
	}
	return &Tensor{Name: name, Rows: t.Rows, Cols: t.Cols, weights: w}
}

// Read fills dst with rows [first, first+n), row-major. Errors are those of reading, and values that are not finite
// where NF4 has to be made of them.
func (t *Tensor) Read(first, n int, dst []float64) error {
	values := make([]float32, n*t.Cols)
	if err := t.base(first, n, values); err != nil {
		return err
	}
	for i, v := range values {
		if dst[i] = float64(v); t.lessOne {
			dst[i]--
		}
	}
	for _, p := range t.weights.products[t.Name] {
		p.addTo(dst, first, n)
	}
	return nil
}

// base are rows before adapters.
func (t *Tensor) base(first, n int, dst []float32) error {
	w := t.weights
	role, known := w.roles[t.Name]
	linear := known && role == spec.Matrix
	if linear && w.base.Dequantized && w.base.NF4 != nil && w.model.Spec.Quantized == nil {
		if t.prepare.Do(t.quantize); t.failed != nil {
			return t.failed
		}
		copy(dst, t.held[first*t.Cols:])
		return nil
	}
	if err := w.model.ReadRows(t.Name, first, n, dst); err != nil {
		return err
	}
	if w.base.Dequantized && known && (role == spec.Table || linear && w.model.Quantized(t.Name) == nil) {
		for i, v := range dst {
			dst[i] = toBFloat16(float64(v))
		}
	}
	return nil
}

// quantize makes NF4 of the whole matrix, whose blocks and nested blocks run over rows, and takes what that means.
func (t *Tensor) quantize() {
	x, q := make([]float32, t.Rows*t.Cols), t.weights.base.NF4
	if t.failed = t.weights.model.ReadRows(t.Name, 0, t.Rows, x); t.failed != nil {
		return
	}
	if i := nf4.FirstNonFinite(x); i >= 0 {
		t.failed = usererr.New(op, "", "element [%d,%d] of %s is %v", i/t.Cols, i%t.Cols, t.Name, x[i]).Of(usererr.Format).
			Hinted("the model file is damaged or was diverging when it was saved")
		return
	}
	codes, absmax := make([]byte, nf4.PackedLen(len(x))), make([]float32, nf4.Blocks(len(x), q.BlockSize))
	nf4.QuantizeParallel(x, q.BlockSize, codes, absmax)
	if q.Double {
		state := doublequant.Quantize(absmax)
		state.Dequantize(absmax)
	}
	nf4.Dequantize(codes, absmax, q.BlockSize, x)
	t.held = x
}

// put rounds values once, to the nearest of the type with ties to even, and puts them in place; the error names the
// first that the type cannot hold.
func (t *Tensor) put(dst []byte, to Type, first int, values []float64) error {
	if i := to.put(dst, values); i >= 0 {
		err := usererr.New(op, "", "element [%d,%d] of %s is %v", first+i/t.Cols, i%t.Cols, t.Name, values[i])
		if math.IsNaN(values[i]) || math.IsInf(values[i], 0) {
			return err.Of(usererr.Format).Hinted("the model file is damaged or was diverging when it was saved")
		}
		return err.Hinted("%s holds no more than %g: choose --dtype bf16", to, to.largest())
	}
	return nil
}
