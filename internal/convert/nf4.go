package convert

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"strings"
	"sync"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/nf4"
)

// matrix is a linear's weight in NF4, which is made once and given in parts.
type matrix struct {
	*Tensor
	spec.Quantized
	dtype  string // of the weights, by torch's name
	once   sync.Once
	codes  []byte
	absmax []float32
	state  doublequant.State
	err    error
}

// addNF4 adds what bitsandbytes stores of a quantized weight: the tensors and bytes of its QuantState.as_dict, but for
// spaces behind the JSON, whose length a header has to tell before the offset in it is known.
func (s *shard) addNF4(t *Tensor, name string, q spec.Quantized, dtype Type) {
	m := &matrix{Tensor: t, Quantized: q, dtype: stored[dtype].torch}
	blocks := nf4.Blocks(t.Rows*t.Cols, q.BlockSize)
	add := func(suffix string, dtype safetensors.DType, shape []int, bytes func() ([]byte, error)) {
		s.head(name+suffix, dtype, shape)
		s.pieces = append(s.pieces, bytes)
	}
	made := func(bytes func() []byte) func() ([]byte, error) {
		return func() ([]byte, error) {
			m.once.Do(m.quantize)
			if m.err != nil {
				return nil, m.err
			}
			return bytes(), nil
		}
	}
	add("", safetensors.U8, []int{nf4.PackedLen(t.Rows * t.Cols), 1}, made(func() []byte { return m.codes }))
	if q.Double {
		add(doublequant.AbsmaxSuffix, safetensors.U8, []int{blocks}, made(func() []byte { return m.state.Codes }))
		nested := []int{doublequant.Nested(blocks)}
		add(doublequant.NestedAbsmaxSuffix, safetensors.F32, nested, made(func() []byte { return safetensors.Float32Bytes(m.state.Nested) }))
		add(doublequant.NestedQuantMapSuffix, safetensors.F32, []int{256}, made(func() []byte {
			return safetensors.Float32Bytes(doublequant.SignedMap[:])
		}))
	} else {
		add(doublequant.AbsmaxSuffix, safetensors.F32, []int{blocks}, made(func() []byte { return safetensors.Float32Bytes(m.absmax) }))
	}
	add(doublequant.QuantMapSuffix, safetensors.F32, []int{16}, made(func() []byte { return safetensors.Float32Bytes(nf4.Codebook[:]) }))
	size := len(m.stateJSON()) + longestFloat
	add(doublequant.QuantStateSuffix, safetensors.U8, []int{size}, made(func() []byte {
		text := m.stateJSON()
		return append(text, strings.Repeat(" ", size-len(text))...)
	}))
}

// longestFloat is more characters than a float32 in JSON has.
const longestFloat = 32

func (m *matrix) stateJSON() []byte {
	q := doublequant.QuantState{QuantType: "nf4", BlockSize: m.BlockSize, DType: m.dtype, Shape: []int{m.Rows, m.Cols}}
	if m.Double {
		q.NestedBlockSize, q.NestedDType, q.NestedOffset = doublequant.BlockSize, "float32", m.state.Offset
	}
	text, err := q.MarshalJSON()
	if err != nil {
		panic(err) // the mean of absmax, which are finite
	}
	return text
}

// quantize makes the codes, by the rule of bitsandbytes' CUDA kernels.
func (m *matrix) quantize() {
	x := make([]float32, m.Rows*m.Cols)
	most := max(1, pieceElements/m.Cols)
	values := make([]float64, min(most, m.Rows)*m.Cols)
	for first := 0; first < m.Rows; first += most {
		n := min(most, m.Rows-first)
		part := values[:n*m.Cols]
		if m.err = m.Read(first, n, part); m.err != nil {
			return
		}
		for i, v := range part {
			x[first*m.Cols+i] = float32(v)
		}
	}
	if i := nf4.FirstNonFinite(x); i >= 0 {
		m.err = usererr.New(op, "", "element [%d,%d] of %s is %v", i/m.Cols, i%m.Cols, m.Name, x[i]).Of(usererr.Format).
			Hinted("the model file is damaged or was diverging when it was saved")
		return
	}
	m.codes, m.absmax = make([]byte, nf4.PackedLen(len(x))), make([]float32, nf4.Blocks(len(x), m.BlockSize))
	nf4.QuantizeParallel(x, m.BlockSize, m.codes, m.absmax)
	if m.Double {
		m.state = doublequant.Quantize(m.absmax)
	}
}

// quantizationConfig is what transformers reads of a checkpoint in NF4. What is left in its own type is skipped by
// name.
func (w *Weights) quantizationConfig(o Options) ([]byte, error) {
	skip := []string{strings.TrimSuffix(spec.Head, ".weight")}
	if w.model.Spec.Wrapper != "" {
		skip = append(skip, "vision_tower", "multi_modal_projector", "model.vision_tower", "model.multi_modal_projector")
	}
	compute := stored[BF16].torch
	if o.Type != "" {
		compute = stored[o.Type].torch
	} else if t := w.model.ConfigType(); t != "" {
		compute = t
	}
	return json.Marshal(map[string]any{
		"quant_method": "bitsandbytes", "load_in_4bit": true, "load_in_8bit": false, "bnb_4bit_quant_type": "nf4",
		"bnb_4bit_use_double_quant": o.NF4.Double, "bnb_4bit_compute_dtype": compute, "bnb_4bit_quant_storage": "uint8",
		"llm_int8_skip_modules": skip,
	}, json.Deterministic(true), jsontext.WithIndentPrefix("  "), jsontext.WithIndent("  "))
}
