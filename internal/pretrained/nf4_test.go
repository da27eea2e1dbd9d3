package pretrained

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/nf4"
)

// fourBit is a configuration that says NF4.
var fourBit = with(`"quantization_config":{"quant_method":"bitsandbytes","load_in_4bit":true,"bnb_4bit_quant_type":"nf4"}`)

// stored are the tensors of a matrix [rows, cols] of random values, and what they decode to.
func stored(t testing.TB, name string, rows, cols, block int, double bool) (tensors []safetensors.Data, decoded []float32) {
	rng := rand.New(rand.NewPCG(uint64(rows), uint64(block)))
	values := make([]float32, rows*cols)
	for i := range values {
		values[i] = float32(rng.NormFloat64())
	}
	packed, absmax := make([]byte, nf4.PackedLen(len(values))), make([]float32, nf4.Blocks(len(values), block))
	nf4.Quantize(values, block, packed, absmax)
	state := doublequant.QuantState{QuantType: "nf4", BlockSize: block, DType: "float16", Shape: []int{rows, cols}}
	data := func(suffix string, dtype safetensors.DType, content []byte, shape ...int) {
		tensors = append(tensors, safetensors.Data{Name: name + suffix, DType: dtype, Shape: shape, Bytes: content})
	}
	data("", safetensors.U8, packed, len(packed), 1)
	if double {
		s := doublequant.Quantize(absmax)
		state.NestedBlockSize, state.NestedDType, state.NestedOffset = 256, "float32", s.Offset
		data(".absmax", safetensors.U8, s.Codes, len(s.Codes))
		data(".nested_absmax", safetensors.F32, safetensors.Float32Bytes(s.Nested), len(s.Nested))
		data(".nested_quant_map", safetensors.F32, safetensors.Float32Bytes(doublequant.SignedMap[:]), 256)
		s.Dequantize(absmax)
	} else {
		data(".absmax", safetensors.F32, safetensors.Float32Bytes(absmax), len(absmax))
	}
	data(".quant_map", safetensors.F32, safetensors.Float32Bytes(nf4.Codebook[:]), 16)
	text, err := state.MarshalJSON()
	require.NoError(t, err)
	data(".quant_state.bitsandbytes__nf4", safetensors.U8, text, len(text))
	nf4.Dequantize(packed, absmax, block, values)
	return tensors, values
}

func file(t testing.TB, tensors []safetensors.Data) []byte {
	var b bytes.Buffer
	require.NoError(t, safetensors.Write(&b, nil, tensors))
	return b.Bytes()
}

// Any rows of a quantized matrix are what it decodes to, wherever its blocks and nested blocks begin.
func TestRowsOfAQuantizedMatrix(t *testing.T) {
	for _, c := range []struct{ rows, cols, block int }{{40, 48, 64}, {24, 72, 4096}, {700, 40, 32}, {7, 8, 64}, {96, 256, 128}, {3, 5, 32}} {
		for _, double := range []bool{true, false} {
			tensors, want := stored(t, "w", c.rows, c.cols, c.block, double)
			m, err := OpenFolder(memory{"config.json": []byte(fourBit), "model.safetensors": file(t, tensors)}, "m")
			require.NoError(t, err)
			require.Equal(t, []Tensor{{"w", c.rows, c.cols}}, m.Tensors())
			require.Equal(t, "NF4", m.Type("w"))
			require.Equal(t, map[string]spec.Quantized{"w": {BlockSize: c.block, Double: double}}, m.Spec.Quantized)
			for first := range c.rows {
				for _, rows := range []int{0, 1, 2, c.rows - first} {
					if first+rows > c.rows {
						continue
					}
					got := make([]float32, rows*c.cols)
					require.NoError(t, m.ReadRows("w", first, rows, got))
					require.Equal(t, want[first*c.cols:(first+rows)*c.cols], got, "%+v double %v, row %d and %d", c, double, first, rows)
				}
			}
		}
	}
}

// The tensors of a matrix may lie in several files, and its codes under another element type; what is not quantized is
// beside them as ever.
func TestAQuantizedMatrixInShards(t *testing.T) {
	tensors, want := stored(t, "w", 16, 24, 64, true)
	tensors[0].DType, tensors[0].Shape = safetensors.BF16, []int{96, 1} // quant_storage
	other := safetensors.Data{Name: "plain", DType: safetensors.F32, Shape: []int{2, 1}, Bytes: safetensors.Float32Bytes([]float32{1, 2})}
	folder := memory{
		"config.json": []byte(fourBit), "a.safetensors": file(t, tensors[:2]),
		"b.safetensors": file(t, append([]safetensors.Data{other}, tensors[2:]...)),
	}
	index := `{"weight_map":{"plain":"b.safetensors"`
	for i, tensor := range tensors {
		index += `,"` + tensor.Name + `":"` + []string{"a", "b"}[min(i/2, 1)] + `.safetensors"`
	}
	folder["model.safetensors.index.json"] = []byte(index + "}}")
	m, err := OpenFolder(folder, "m")
	require.NoError(t, err)
	got := make([]float32, len(want))
	require.NoError(t, m.ReadRows("w", 0, 16, got))
	require.Equal(t, want, got)
	require.NoError(t, m.ReadRows("plain", 0, 2, got[:2]))
	require.Equal(t, []float32{1, 2}, got[:2])
	require.Nil(t, m.Quantized("plain"))
	require.Len(t, m.Tensors(), 2)

	// Its bytes are those of all its tensors, wherever reading them begins.
	w := m.weights[m.index["w"]]
	all := bytes.Join([][]byte{tensors[0].Bytes, tensors[5].Bytes, tensors[1].Bytes, tensors[2].Bytes}, nil)
	all = append(append(all, tensors[3].Bytes...), tensors[4].Bytes...)
	require.EqualValues(t, len(all), w.size)
	for _, at := range []int{0, 1, 191, 192, 200, 400, len(all) - 1, len(all)} {
		part := make([]byte, len(all)-at)
		require.NoError(t, w.readBytes(part, int64(at)))
		require.Equal(t, all[at:], part, at)
	}

	// A run belongs to all bytes of these tensors, also to those of the absmax alone.
	hash, digest := m.ContentHash(), digestOf(t, m)
	require.Equal(t, digest, digestOf(t, m))
	tensors[1].Bytes[3] ^= 1
	folder["a.safetensors"] = file(t, tensors[:2])
	m, err = OpenFolder(folder, "m")
	require.NoError(t, err)
	require.NotEqual(t, hash, m.ContentHash())
	require.NotEqual(t, digest, digestOf(t, m))
}

func digestOf(t *testing.T, m *Model) string {
	digest, err := m.Digest(t.Context())
	require.NoError(t, err)
	return digest
}

// What is no NF4 of bitsandbytes is named, and so is what the way out can be.
func TestQuantizedModelsThatAreRefused(t *testing.T) {
	const original = "(take the original model, its weights are quantized to NF4 on loading"
	for _, c := range [][2]string{
		{`{"quant_method":"gptq","bits":4}`, "gptq " + original + ")"},
		{`{"quant_method":"awq"}`, "awq " + original + ")"},
		{`{"quant_method":"compressed-tensors"}`, "compressed-tensors " + original},
		{`{"quant_method":"fp8","weight_block_size":[128,128]}`, "fp8 " + original + ", or make 16-bit weights of these: "},
		{`{"quant_method":"mxfp4"}`, "Mxfp4Config(dequantize=True)).save_pretrained(OTHER))"},
		{`{"quant_method":"bitsandbytes","load_in_8bit":true}`, "bitsandbytes int8 (load_in_8bit) " + original},
		{`{"_load_in_8bit":true}`, "bitsandbytes int8 (load_in_8bit) "},
		{`{"load_in_8bit":true,"load_in_4bit":false}`, ".from_pretrained(FOLDER).dequantize().save_pretrained(OTHER))"},
		{`{"load_in_4bit":true}`, "bitsandbytes fp4 (bnb_4bit_quant_type) "},
		{`{"quant_method":"bitsandbytes","load_in_4bit":true,"bnb_4bit_quant_type":"fp4"}`, "bitsandbytes fp4 (bnb_4bit_quant_type) "},
		{`{"quant_method":"bitsandbytes"}`, "quantization_config has neither load_in_4bit nor load_in_8bit"},
		{`{"bits":4}`, "in a form that is not read: an unknown one "},
		{`[]`, "quantization_config is no object"},
	} {
		config, message := c[0], c[1]
		_, err := OpenFolder(memory{"config.json": []byte(with(`"quantization_config":` + config))}, "m")
		require.ErrorContains(t, err, "open model m/config.json: line 1: ", config)
		require.ErrorContains(t, err, message, config)
		require.IsType(t, &usererr.Error{}, err)
	}
	// null is what a model that is not quantized may say; files of 2023 name no method.
	for _, config := range []string{"null", `{"load_in_4bit":true,"bnb_4bit_quant_type":"nf4"}`} {
		_, err := OpenFolder(memory{"config.json": []byte(with(`"quantization_config":` + config))}, "m")
		require.ErrorContains(t, err, "there is neither model.safetensors nor", config)
	}
}

// Tensors that do not make a matrix are refused, whatever is wrong with them.
func TestQuantizedTensorsThatAreRefused(t *testing.T) {
	replaced := func(name string, change func(d *safetensors.Data)) func([]safetensors.Data) []safetensors.Data {
		return func(tensors []safetensors.Data) []safetensors.Data {
			i := slices.IndexFunc(tensors, func(d safetensors.Data) bool { return d.Name == "w"+name })
			change(&tensors[i])
			return tensors
		}
	}
	without := func(name string) func([]safetensors.Data) []safetensors.Data {
		return func(tensors []safetensors.Data) []safetensors.Data {
			return slices.DeleteFunc(tensors, func(d safetensors.Data) bool { return d.Name == "w"+name })
		}
	}
	state := func(old, new string) func([]safetensors.Data) []safetensors.Data {
		return replaced(".quant_state.bitsandbytes__nf4", func(d *safetensors.Data) {
			d.Bytes = []byte(strings.Replace(string(d.Bytes), old, new, 1))
			d.Shape = []int{len(d.Bytes)}
		})
	}
	cut := func(d *safetensors.Data) {
		size := len(d.Bytes) / d.Shape[0]
		d.Shape[0]--
		d.Bytes = d.Bytes[:d.Shape[0]*size]
	}
	for name, c := range map[string]struct {
		change  func([]safetensors.Data) []safetensors.Data
		message string
	}{
		"no codes":         {without(""), "tensor w is missing, which w.quant_state.bitsandbytes__nf4 wants (the weights are incomplete"},
		"no absmax":        {without(".absmax"), "tensor w.absmax is missing"},
		"no nested absmax": {without(".nested_absmax"), "tensor w.nested_absmax is missing"},
		"no map":           {without(".nested_quant_map"), "tensor w.nested_quant_map is missing"},
		"no codebook":      {without(".quant_map"), "tensor w.quant_map is missing"},
		"no state":         {without(".quant_state.bitsandbytes__nf4"), "quantization_config says NF4, and no tensor is"},
		"few codes":        {replaced("", cut), "tensor w has 191 bytes of U8, a weight of [16 24] in blocks of 64 has others"},
		"few absmax":       {replaced(".absmax", cut), "tensor w.absmax has 5 bytes of U8"},
		"few nested":       {replaced(".nested_absmax", cut), "tensor w.nested_absmax has 0 bytes of F32"},
		"another codebook": {
			replaced(".quant_map", func(d *safetensors.Data) { d.Bytes[1] ^= 1 }),
			"w.quant_map holds other values than bitsandbytes' own (",
		},
		"another map": {
			replaced(".nested_quant_map", func(d *safetensors.Data) { d.Bytes[77] ^= 1 }),
			"w.nested_quant_map holds other values than bitsandbytes'",
		},
		"another type": {
			state(`"nf4"`, `"fp4"`),
			`m/model.safetensors, tensor w.quant_state.bitsandbytes__nf4: unsupported: quant_type "fp4"`,
		},
		"another block":    {state(`: 64,`, `: 32,`), "tensor w.absmax has 6 bytes of U8, a weight of [16 24] in blocks of 32"},
		"no block":         {state(`: 64,`, `: 48,`), "blocksize 48 is not a power of two from 32 to 4096"},
		"another shape":    {state(`[16, 24]`, `[16, 48]`), "tensor w has 192 bytes of U8, a weight of [16 48]"},
		"a vector":         {state(`[16, 24]`, `[384]`), "tensor w has shape [384], a matrix was wanted"},
		"no JSON":          {state(`{`, `[`), "read quant state m/model.safetensors, tensor w.quant_state.bitsandbytes__nf4: bad format: "},
		"a state too long": {state(`{`, `{`+strings.Repeat(" ", 1<<17)), "bad format: it ends too soon"},
		"no double absmax": {
			state(`, "nested_blocksize": 256, "nested_dtype": "float32"`, ""), "nested_blocksize is missing, but other nested fields are set",
		},
	} {
		tensors, _ := stored(t, "w", 16, 24, 64, true)
		_, err := OpenFolder(memory{"config.json": []byte(fourBit), "model.safetensors": file(t, c.change(tensors))}, "m")
		require.ErrorContains(t, err, c.message, name)
		require.IsType(t, &usererr.Error{}, err, name)
	}
	tensors, _ := stored(t, "w", 16, 24, 64, true)
	_, err := OpenFolder(memory{"config.json": []byte(minimal), "model.safetensors": file(t, tensors)}, "m")
	require.ErrorContains(t, err,
		"tensor w.quant_state.bitsandbytes__nf4 belongs to a quantized weight, config.json has no quantization_config (fetch config.json")
}

// A head that is quantized, too, is decoded, since heads are kept in 16 bits.
func TestAQuantizedHeadIsToldOf(t *testing.T) {
	tensors, _ := stored(t, "lm_head.weight", 384, 128, 64, true)
	m, err := OpenFolder(memory{"config.json": []byte(fourBit), "model.safetensors": file(t, tensors)}, "m")
	require.NoError(t, err)
	require.Contains(t, m.Warnings[0], "lm_head.weight is NF4; it is decoded to bfloat16")
}

// A whole model's linears come as they are but for those that the folder skips.
func TestOpenAModelIn4Bits(t *testing.T) {
	folder := demotest.Model(t, 2, nil)
	const skipped = "model.layers.1.mlp.up_proj"
	demotest.Quantize(t, folder, 64, true, skipped)
	m, err := Open(folder)
	require.NoError(t, err)
	defer m.Close()
	require.Empty(t, m.Warnings)
	require.Len(t, m.Spec.Quantized, 13)
	require.NotContains(t, m.Spec.Quantized, skipped+".weight")
	require.Equal(t, "BF16", m.Type(skipped+".weight"))
	require.Equal(t, []string{filepath.Join(folder, "model.safetensors")}, m.Files())
	for _, tensor := range m.Spec.Tensors() {
		require.NoError(t, m.Expect(tensor.Name, tensor.Rows, tensor.Cols))
	}
}
