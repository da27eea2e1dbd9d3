package referencetest

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"qlora-wgpu/internal/reference"
	"qlora-wgpu/internal/safetensors"
)

// blockSize is how many weights share an absmax.
const blockSize = 64

// Tensor is a tensor of a file.
type Tensor struct {
	Shape  []int
	Values []float32
	Bytes  []byte // of a tensor of bytes, which has no values
}

// Tensors are all of a safetensors file, by name.
func Tensors(path string) (map[string]Tensor, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	file, err := safetensors.Read(f, info.Size(), path)
	if err != nil {
		return nil, err
	}
	tensors := map[string]Tensor{}
	for _, t := range file.Tensors() {
		if t.DType == safetensors.U8 {
			data := make([]byte, t.Size)
			if err := file.ReadBytes(t, data, 0); err != nil {
				return nil, err
			}
			tensors[t.Name] = Tensor{Shape: t.Shape, Bytes: data}
			continue
		}
		values := make([]float32, t.Elements())
		if err := file.ReadFloat32(t, values, 0); err != nil {
			return nil, err
		}
		tensors[t.Name] = Tensor{Shape: t.Shape, Values: values}
	}
	return tensors, nil
}

// Decoder makes a decoder of a Hugging Face folder as training sees its weights: linears are what their NF4 with double
// quantization means or, not quantized, rounded to bfloat16, as embedding and head are; norms and biases are as they
// are. Of a folder that holds NF4 the linears are what that means, others rounded. It has no adapters. What the float64
// decoder cannot compute yet is an error: a key that is not read, a tensor that is missing or left over.
func Decoder(dir string, quantized bool) (*reference.Decoder, error) {
	config, err := readConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, err
	}
	s, err := config.spec()
	if err != nil {
		return nil, err
	}
	tensors, err := Tensors(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		return nil, err
	}
	decoded, err := decodeNF4(tensors)
	if err != nil {
		return nil, err
	}
	tellNorms(&s, tensors)
	if err := tell(&s, tensors); err != nil {
		return nil, err
	}
	var missing []string
	d := reference.NewDecoder(s, func(name string, rows, cols int) []float64 {
		t := tensors[name]
		delete(tensors, name)
		if len(t.Values) != rows*cols {
			missing = append(missing, fmt.Sprintf("%s is %v instead of [%d %d]", name, t.Shape, rows, cols))
			return make([]float64, rows*cols)
		}
		switch {
		case decoded[name]:
		case quantized && len(decoded) == 0 && isLinear(name):
			return reference.NF4Quantize(t.Values, blockSize).Dequantize(len(t.Values))
		case rows > 1:
			return BFloat16(t.Values)
		}
		values := Wide(t.Values)
		if config.gemma() && strings.HasSuffix(name, "norm.weight") {
			for i := range values {
				values[i]++
			}
		}
		return values
	})
	if len(missing) > 0 || len(tensors) > 0 {
		return nil, fmt.Errorf("%s: tensors are missing: %q; left over: %q", dir, missing, slices.Sorted(maps.Keys(tensors)))
	}
	return d, nil
}

// isLinear tells whether a tensor is the weight of a layer's linear.
func isLinear(name string) bool {
	return strings.HasSuffix(name, "_proj.weight") || strings.HasSuffix(name, "_linear.weight")
}

// tellNorms adds where a layer's norms stand.
func tellNorms(s *reference.Spec, tensors map[string]Tensor) {
	for i := range s.Layers {
		_, before := tensors[fmt.Sprintf("model.layers.%d.input_layernorm.weight", i)]
		_, behind := tensors[fmt.Sprintf("model.layers.%d.post_feedforward_layernorm.weight", i)]
		switch {
		case before && behind:
			s.Layers[i].Norms = reference.NormsAround
		case behind:
			s.Layers[i].Norms = reference.NormsBehind
		}
	}
}

// tell adds to the spec what a layer's tensors tell of its linears, and of the norms of queries and keys.
func tell(s *reference.Spec, tensors map[string]Tensor) error {
	for i := range s.Layers {
		l := &s.Layers[i]
		attention, mlp := fmt.Sprintf("model.layers.%d.self_attn.", i), fmt.Sprintf("model.layers.%d.mlp.", i)
		has := func(linear string) bool {
			_, ok := tensors[linear+".bias"]
			return ok
		}
		l.Bias = reference.Projections{
			Q: has(attention + "q_proj"), K: has(attention + "k_proj"), V: has(attention + "v_proj"), O: has(attention + "o_proj"),
			Gate: has(mlp + "gate_proj"), Up: has(mlp + "up_proj"), Down: has(mlp + "down_proj"),
		}
		if _, l.FusedQKV = tensors[attention+"qkv_proj.weight"]; l.FusedQKV {
			l.Bias.Q = has(attention + "qkv_proj")
			l.HeadDim = cmp.Or(l.HeadDim, s.Hidden/l.Heads)
		}
		if _, l.FusedMLP = tensors[mlp+"gate_up_proj.weight"]; l.FusedMLP {
			l.Bias.Gate = has(mlp + "gate_up_proj")
		}
		if _, shared := tensors[fmt.Sprintf("model.layers.%d.shared_mlp.input_linear.weight", i)]; shared { // Granite 4's
			l.FusedMLP = true
			s.Renamed = map[string]string{"mlp.gate_up_proj": "shared_mlp.input_linear", "mlp.down_proj": "shared_mlp.output_linear"}
		}
		if q := tensors[attention+"q_proj.weight"]; l.HeadDim == 0 && len(q.Shape) == 2 {
			l.HeadDim = q.Shape[0] / l.Heads
		}
		norm, ok := tensors[attention+"q_norm.weight"]
		switch n := len(norm.Values); {
		case !ok:
		case n == l.HeadDim:
			l.QKNorm = reference.PerHead
		case n == l.Heads*l.HeadDim:
			l.QKNorm = reference.WholeWidth
		default:
			return fmt.Errorf("%sq_norm has %d weights, there are %d heads of %d", attention, n, l.Heads, l.HeadDim)
		}
	}
	return nil
}

// Wide are the values in float64.
func Wide(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// BFloat16 are the values rounded to 8 bits, in float64.
func BFloat16(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, code := range reference.PackBF16(x) {
		out[i] = float64(math.Float32frombits(uint32(code) << 16))
	}
	return out
}
