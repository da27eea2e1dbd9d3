package referencetest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// decodeNF4 puts what bitsandbytes' 4-bit tensors mean in their place, by the tables that stand beside them, and tells
// which these are.
func decodeNF4(tensors map[string]Tensor) (decoded map[string]bool, err error) {
	const suffix = ".quant_state.bitsandbytes__nf4"
	decoded = map[string]bool{}
	for key, state := range tensors {
		name, is := strings.CutSuffix(key, suffix)
		if !is {
			continue
		}
		var s struct {
			BlockSize int     `json:"blocksize"`
			Shape     []int   `json:"shape"`
			Offset    float32 `json:"nested_offset"`
		}
		if err := json.Unmarshal(state.Bytes, &s); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		beside := func(suffix string) Tensor {
			t := tensors[name+suffix]
			delete(tensors, name+suffix)
			return t
		}
		absmax, codebook := beside(".absmax"), beside(".quant_map")
		nested, dynamic := beside(".nested_absmax"), beside(".nested_quant_map")
		for i, code := range absmax.Bytes { // bytes where they are quantized too
			product := float32(dynamic.Values[code] * nested.Values[i/256]) // rounded before the sum
			absmax.Values = append(absmax.Values, product+s.Offset)
		}
		values := make([]float32, s.Shape[0]*s.Shape[1])
		for i := range values {
			code := tensors[name].Bytes[i/2] >> (4 - i%2*4) & 15
			values[i] = codebook.Values[code] * absmax.Values[i/s.BlockSize]
		}
		delete(tensors, key)
		tensors[name], decoded[name] = Tensor{Shape: s.Shape, Values: values}, true
	}
	return decoded, nil
}
