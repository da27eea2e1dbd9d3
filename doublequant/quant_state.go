package doublequant

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/nf4"
)

// bitsandbytes stores a quantized weight P of n elements as these tensors of a safetensors file. P itself holds the
// packed codes as U8 [ceil(n/2), 1]; another quant_storage shows the same bytes under another element type.
const (
	// AbsmaxSuffix: U8 [blocks], the codes of a State; without double quantization F32 [blocks].
	AbsmaxSuffix = ".absmax"
	// QuantMapSuffix: F32 [16], nf4.Codebook.
	QuantMapSuffix = ".quant_map"
	// NestedAbsmaxSuffix: F32 [ceil(blocks/256)], State.Nested; double quantization only.
	NestedAbsmaxSuffix = ".nested_absmax"
	// NestedQuantMapSuffix: F32 [256], SignedMap; double quantization only.
	NestedQuantMapSuffix = ".nested_quant_map"
	// QuantStateSuffix: U8, the bytes of QuantState as JSON.
	QuantStateSuffix = ".quant_state.bitsandbytes__nf4"
)

// QuantState describes one quantized weight beside its tensors. Absmax is double quantized exactly when NestedBlockSize
// is not 0.
type QuantState struct {
	QuantType       string  // "nf4"
	BlockSize       int     // weights per absmax
	DType           string  // element type of the original weight: "bfloat16", "float16" or "float32"
	Shape           []int   // shape of the original weight
	NestedBlockSize int     // 256, or 0
	NestedDType     string  // "float32", or empty
	NestedOffset    float32 // State.Offset
}

// Elements is the number of weights, the product of Shape.
func (q QuantState) Elements() int {
	n := 1
	for _, d := range q.Shape {
		n *= d
	}
	return n
}

// MarshalJSON gives the bytes that bitsandbytes writes, Python's spacing and number format included. Call it directly
// where the bytes matter: json.Marshal would strip the spaces. A NestedOffset that is not finite is an error.
func (q QuantState) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(q.NestedOffset)) || math.IsInf(float64(q.NestedOffset), 0) {
		return nil, fmt.Errorf("nested_offset is %v", q.NestedOffset)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"quant_type": %q, "blocksize": %d, "dtype": %q, "shape": [`, q.QuantType, q.BlockSize, q.DType)
	for i, d := range q.Shape {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(d))
	}
	b.WriteString("]")
	if q.NestedBlockSize != 0 {
		fmt.Fprintf(&b, `, "nested_blocksize": %d, "nested_dtype": %q, "nested_offset": %s`,
			q.NestedBlockSize, q.NestedDType, pythonFloat(float64(q.NestedOffset)))
	}
	b.WriteString("}")
	return b.Bytes(), nil
}

// pythonFloat is Python's repr: the shortest digits that read back, an exponent below 1e-4 and from 1e16 on.
func pythonFloat(v float64) string {
	if a := math.Abs(v); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if v == math.Trunc(v) {
		s += ".0"
	}
	return s
}

// maxElements bounds what a damaged shape can make a reader allocate.
const maxElements = 1 << 40

// ParseQuantState reads the JSON and checks every field. path names the file, or file and tensor, in errors. Every
// error is a *usererr.Error: of kind usererr.Format for what is no quant state, of usererr.Unsupported for one that
// this package cannot read.
func ParseQuantState(data []byte, path string) (QuantState, error) {
	var raw struct {
		QuantType       string  `json:"quant_type"`
		BlockSize       int64   `json:"blocksize"`
		DType           string  `json:"dtype"`
		Shape           []int64 `json:"shape"`
		NestedBlockSize int64   `json:"nested_blocksize"`
		NestedDType     *string `json:"nested_dtype"`
		NestedOffset    float64 `json:"nested_offset"`
	}
	fail := func(kind usererr.Kind, format string, args ...any) (QuantState, error) {
		return QuantState{}, usererr.New("read quant state", path, format, args...).Of(kind)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&raw); err != nil {
		return fail(usererr.Format, "%w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fail(usererr.Format, "data after the JSON object, from byte %d on", decoder.InputOffset())
	}

	q := QuantState{QuantType: raw.QuantType, DType: raw.DType}
	switch {
	case raw.QuantType == "":
		return fail(usererr.Format, "quant_type is missing")
	case raw.QuantType != "nf4":
		return fail(usererr.Unsupported, "quant_type %q, only nf4 can be read", raw.QuantType)
	case raw.BlockSize > math.MaxInt32 || !nf4.ValidBlockSize(int(raw.BlockSize)):
		return fail(usererr.Format, "blocksize %d is not a power of two from 32 to 4096", raw.BlockSize)
	case raw.DType == "":
		return fail(usererr.Format, "dtype is missing")
	case raw.DType != "bfloat16" && raw.DType != "float16" && raw.DType != "float32":
		return fail(usererr.Unsupported, "dtype %q, only bfloat16, float16 and float32 can be read", raw.DType)
	case len(raw.Shape) == 0:
		return fail(usererr.Format, "shape is missing or empty")
	}
	q.BlockSize = int(raw.BlockSize)
	elements := int64(1)
	for _, d := range raw.Shape {
		if d <= 0 || d > maxElements/elements {
			return fail(usererr.Format, "shape %v is not a weight's shape", raw.Shape)
		}
		elements *= d
		q.Shape = append(q.Shape, int(d))
	}
	switch {
	case raw.NestedBlockSize == 0: // some writers put zeros where there is no double quantization
		if raw.NestedOffset != 0 || raw.NestedDType != nil {
			return fail(usererr.Format, "nested_blocksize is missing, but other nested fields are set")
		}
		return q, nil
	case raw.NestedBlockSize != BlockSize:
		return fail(usererr.Unsupported, "nested_blocksize %d, only %d can be read", raw.NestedBlockSize, BlockSize)
	case raw.NestedDType == nil:
		return fail(usererr.Format, "nested_dtype is missing")
	case *raw.NestedDType != "float32":
		return fail(usererr.Unsupported, "nested_dtype %q, only float32 can be read", *raw.NestedDType)
	}
	q.NestedBlockSize, q.NestedDType, q.NestedOffset = BlockSize, *raw.NestedDType, float32(raw.NestedOffset)
	if math.IsInf(float64(q.NestedOffset), 0) {
		return fail(usererr.Format, "nested_offset %g is not a float32", raw.NestedOffset)
	}
	return q, nil
}
