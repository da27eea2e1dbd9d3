package doublequant

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

func TestQuantStateBytes(t *testing.T) {
	for _, text := range []string{
		`{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [128, 896], "nested_blocksize": 256, "nested_dtype": "float32", ` +
			`"nested_offset": 0.03179999813437462}`,
		`{"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [128, 896], "nested_blocksize": 256, "nested_dtype": "float32", ` +
			`"nested_offset": 9.999999747378752e-05}`,
		`{"quant_type": "nf4", "blocksize": 4096, "dtype": "float32", "shape": [7], "nested_blocksize": 256, "nested_dtype": "float32", ` +
			`"nested_offset": 2.0}`,
		`{"quant_type": "nf4", "blocksize": 32, "dtype": "float32", "shape": [7, 1, 3], "nested_blocksize": 256, "nested_dtype": "float32", ` +
			`"nested_offset": 0.0}`,
		`{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [128, 896]}`,
	} {
		q, err := ParseQuantState([]byte(text), "a.safetensors")
		require.NoError(t, err)
		got, err := q.MarshalJSON()
		require.NoError(t, err)
		require.Equal(t, text, string(got))
		compact, err := json.Marshal(q)
		require.NoError(t, err)
		require.JSONEq(t, text, string(compact))
	}
	q, err := ParseQuantState([]byte(`{"shape": [128, 896], "dtype": "float16", "blocksize": 128, "quant_type": "nf4",
		"nested_offset": 0.5, "nested_blocksize": 256, "nested_dtype": "float32"}`), "")
	require.NoError(t, err)
	require.Equal(t, QuantState{QuantType: "nf4", BlockSize: 128, DType: "float16", Shape: []int{128, 896},
		NestedBlockSize: 256, NestedDType: "float32", NestedOffset: 0.5}, q)
	require.Equal(t, 128*896, q.Elements())
}

func TestPythonFloat(t *testing.T) {
	// pairs from Python's repr
	for v, want := range map[float64]string{0: "0.0", 1: "1.0", 0.1: "0.1", 0.0001: "0.0001", 0.00009: "9e-05", 1.5e-7: "1.5e-07",
		1e-100: "1e-100", 123456789: "123456789.0", 1e15: "1000000000000000.0", 1e16: "1e+16", 1.25e22: "1.25e+22", -2.5: "-2.5"} {
		require.Equal(t, want, pythonFloat(v))
	}
}

func TestParseQuantStateErrors(t *testing.T) {
	const good = `"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [8, 8]`
	for _, c := range []struct {
		kind   usererr.Kind
		text   string
		reason string
	}{
		{usererr.Format, ``, "it ends too soon"},
		{usererr.Format, `{` + good, "it ends too soon"},
		{usererr.Format, `{` + good + `} {}`, "data after the JSON object"},
		{usererr.Format, `[1]`, "the value is a list, an object was wanted"},
		{usererr.Format, `{` + good + `, "absmax": 1}`, `unknown field "absmax"`},
		{usererr.Format, `{"blocksize": 64, "dtype": "bfloat16", "shape": [8, 8]}`, "quant_type is missing"},
		{usererr.Unsupported, `{"quant_type": "fp4", "blocksize": 64, "dtype": "bfloat16", "shape": [8, 8]}`, `quant_type "fp4"`},
		{usererr.Format, `{"quant_type": "nf4", "dtype": "bfloat16", "shape": [8, 8]}`, "blocksize 0"},
		{usererr.Format, `{"quant_type": "nf4", "blocksize": 4294967360, "dtype": "bfloat16", "shape": [8, 8]}`, "blocksize 4294967360"},
		{usererr.Format, `{"quant_type": "nf4", "blocksize": 64.5, "dtype": "bfloat16", "shape": [8, 8]}`, "blocksize"},
		{usererr.Format, `{"quant_type": "nf4", "blocksize": 64, "shape": [8, 8]}`, "dtype is missing"},
		{usererr.Unsupported, `{"quant_type": "nf4", "blocksize": 64, "dtype": "float64", "shape": [8, 8]}`, `dtype "float64"`},
		{usererr.Format, `{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16"}`, "shape is missing"},
		{usererr.Format, `{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [8, -8]}`, "shape [8 -8]"},
		{usererr.Format, `{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [4294967296, 4294967296]}`, "shape"},
		{usererr.Format, `{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [8, 0, 9223372036854775807]}`, "shape"},
		{usererr.Format, `{` + good + `, "nested_offset": 0.5}`, "nested_blocksize is missing"},
		{usererr.Unsupported, `{` + good + `, "nested_blocksize": 128, "nested_dtype": "float32", "nested_offset": 0.5}`, "nested_blocksize 128"},
		{usererr.Format, `{` + good + `, "nested_blocksize": 256, "nested_offset": 0.5}`, "nested_dtype is missing"},
		{
			usererr.Unsupported, `{` + good + `, "nested_blocksize": 256, "nested_dtype": "float16", "nested_offset": 0.5}`,
			`nested_dtype "float16"`,
		},
		{usererr.Format, `{` + good + `, "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 1e300}`, "nested_offset 1e+300"},
		{usererr.Format, `{` + good + `, "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": NaN}`, "invalid character"},
	} {
		_, err := ParseQuantState([]byte(c.text), "w.safetensors")
		require.ErrorContains(t, err, c.reason, c.text)
		require.ErrorContains(t, err, "read quant state w.safetensors: ", c.text)
		require.True(t, usererr.Is(err, c.kind), "%s: %v", c.text, err)
	}
}

func FuzzParseQuantState(f *testing.F) {
	f.Add([]byte(`{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [128, 896], "nested_blocksize": 256, "nested_dtype": ` +
		`"float32", "nested_offset": 0.0318}`))
	f.Add([]byte(`{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [128, 896]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := ParseQuantState(data, "fuzz")
		if err != nil {
			require.True(t, usererr.Is(err, usererr.Format) || usererr.Is(err, usererr.Unsupported))
			return
		}
		text, err := q.MarshalJSON()
		require.NoError(t, err)
		again, err := ParseQuantState(text, "fuzz")
		require.NoError(t, err)
		require.Equal(t, q, again)
	})
}
