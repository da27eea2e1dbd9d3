package convert

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/reference"
	"qlora-wgpu/internal/reference/referencetest"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/lora"
)

func openModel(t *testing.T, dir string) *pretrained.Model {
	t.Helper()
	m, err := pretrained.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func openAdapter(t *testing.T, dir string) *lora.Files {
	t.Helper()
	files, err := lora.Open(checkpoint.Files{}, filepath.ToSlash(dir))
	require.NoError(t, err)
	return files
}

// written merges and opens what was written.
func written(
	t *testing.T, model *pretrained.Model, adapters []*lora.Files, base Base, to Type,
) (dir string, tensors map[string]referencetest.Tensor) {
	t.Helper()
	w, warnings, err := New(model, adapters, base)
	require.NoError(t, err)
	require.Empty(t, warnings)
	dir = filepath.Join(t.TempDir(), "merged")
	o := Options{Type: to, Card: []byte("card")}
	require.NoError(t, w.WriteFolder(context.Background(), checkpoint.Files{}, filepath.ToSlash(dir), o))
	card, err := os.ReadFile(filepath.Join(dir, "README.md"))
	require.NoError(t, err)
	require.Equal(t, "card", string(card))
	tensors = map[string]referencetest.Tensor{}
	shards, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	require.NoError(t, err)
	for _, shard := range shards {
		held, err := referencetest.Tensors(shard)
		require.NoError(t, err)
		for name, tensor := range held {
			tensors[name] = tensor
		}
	}
	return dir, tensors
}

// cases are folders with models of several kinds and an adapter: plain, with norms less 1 in the files, with fused
// matrices of other names, in float16, and in 4 bits with one or two layers of absmax.
var cases = []string{"tiny", "qwen3", "gemma3_text", "granite4", "tiny_16bit", "bnb_nf4", "bnb_nf4_single"}

func caseOf(t *testing.T, name string) (*pretrained.Model, *lora.Files, string) {
	dir := filepath.Join("..", "parity", "testdata", name)
	return openModel(t, filepath.Join(dir, "model")), openAdapter(t, filepath.Join(dir, "init_adapter")), filepath.Join(dir, "model")
}

// sum is W + Σ scaling·B A of a linear, term by term.
func sum(base []float64, cols int, adapters []*lora.Files, linear string) []float64 {
	out := append([]float64(nil), base...)
	for _, files := range adapters {
		var a, b lora.Tensor
		for _, tensor := range files.Tensors {
			switch tensor.Name {
			case "base_model.model." + linear + ".lora_A.weight":
				a = tensor
			case "base_model.model." + linear + ".lora_B.weight":
				b = tensor
			}
		}
		scaling := float64(float32(files.Config.Alpha / float64(files.Config.Rank)))
		for i := range out {
			for k := range a.Rows {
				out[i] += scaling * float64(b.Values[i/cols*b.Cols+k]) * float64(a.Values[k*a.Cols+i%cols])
			}
		}
	}
	return out
}

// requireRounded wants float32 values that are those of float64 rounded once, but for what the order of a sum changes.
func requireRounded(t *testing.T, want []float64, got []float32, name string) {
	t.Helper()
	require.Len(t, got, len(want))
	for i, v := range want {
		half := (float64(math.Nextafter32(float32(math.Abs(v)), math.MaxFloat32)) - math.Abs(float64(float32(v)))) / 2
		require.LessOrEqual(t, math.Abs(float64(got[i])-v), half*(1+1e-6), "%s[%d]: %v, %v was wanted", name, i, got[i], v)
	}
}

func TestMergedFloat32IsTheSumRoundedOnce(t *testing.T) {
	for _, name := range cases {
		t.Run(name, func(t *testing.T) {
			model, adapter, from := caseOf(t, name)
			other := *adapter
			other.Config.Alpha *= 1.5
			adapters := []*lora.Files{adapter, &other}
			dir, tensors := written(t, model, adapters, Base{}, F32)
			again := openModel(t, dir)
			want := model.Spec
			want.Quantized = nil
			require.Equal(t, want, again.Spec)
			require.Equal(t, model.Tokens, again.Tokens)
			before := map[string]float32{} // one value of each
			changed := 0
			for _, tensor := range model.Spec.Tensors() {
				x := make([]float32, tensor.Rows*tensor.Cols)
				require.NoError(t, model.ReadRows(tensor.Name, 0, tensor.Rows, x))
				before[tensor.Name] = x[0]
				if tensor.Role == spec.Matrix {
					got := tensors[tensor.Name]
					require.Equal(t, []int{tensor.Rows, tensor.Cols}, got.Shape)
					wide := referencetest.Wide(x)
					merged := sum(wide, tensor.Cols, adapters, strings.TrimSuffix(tensor.Name, ".weight"))
					requireRounded(t, merged, got.Values, tensor.Name)
					if merged[0] != wide[0] {
						changed++
					}
					continue
				}
				y := make([]float32, len(x))
				require.NoError(t, again.ReadRows(tensor.Name, 0, tensor.Rows, y))
				require.Equal(t, x, y, tensor.Name)
			}
			require.Greater(t, changed, 5)
			for _, file := range []string{"tokenizer.json", "generation_config.json"} {
				data, err := os.ReadFile(filepath.Join(from, file))
				if err == nil {
					copied, err := os.ReadFile(filepath.Join(dir, file))
					require.NoError(t, err)
					require.Equal(t, data, copied)
				}
			}
			config, err := os.ReadFile(filepath.Join(dir, "config.json"))
			require.NoError(t, err)
			require.NotContains(t, string(config), "quantization_config")
			require.NotContains(t, string(config), "bfloat16")
			left, err := filepath.Glob(dir + "*.tmp")
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// What training saw: linears as NF4 gives them back, embedding and head in bfloat16.
func TestTheDequantizedBaseIsWhatTrainingSaw(t *testing.T) {
	for _, name := range []string{"tiny", "gemma3_text", "granite4"} {
		for kind, base := range map[string]*spec.Quantized{
			"nf4": {BlockSize: 64, Double: true}, "single": {BlockSize: 128}, "none": nil,
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				model, adapter, _ := caseOf(t, name)
				_, tensors := written(t, model, []*lora.Files{adapter}, Base{Dequantized: true, NF4: base}, F32)
				rounded := false
				for _, tensor := range model.Spec.Tensors() {
					x := make([]float32, tensor.Rows*tensor.Cols)
					require.NoError(t, model.ReadRows(tensor.Name, 0, tensor.Rows, x))
					var want []float64
					switch {
					case tensor.Role == spec.Matrix && base != nil && base.Double:
						want = reference.NF4Quantize(x, base.BlockSize).Dequantize(len(x))
					case tensor.Role == spec.Matrix && base != nil:
						want = reference.NF4QuantizeSingle(x, base.BlockSize).Dequantize(len(x))
					case tensor.Role == spec.Matrix, tensor.Role == spec.Table:
						want = referencetest.BFloat16(x)
					default:
						continue
					}
					rounded = rounded || want[0] != float64(x[0])
					requireRounded(t, sum(want, tensor.Cols, []*lora.Files{adapter}, strings.TrimSuffix(tensor.Name, ".weight")),
						tensors[tensor.Name].Values, tensor.Name)
				}
				require.Equal(t, kind != "none", rounded, "the files hold bfloat16")
			})
		}
	}
}

// A model whose files hold NF4 has that as its base, whatever is asked for.
func TestFilesInFourBitsAreTheirOwnBase(t *testing.T) {
	model, adapter, _ := caseOf(t, "bnb_nf4")
	_, original := written(t, model, []*lora.Files{adapter}, Base{}, BF16)
	other := Base{Dequantized: true, NF4: &spec.Quantized{BlockSize: 128, Double: true}}
	_, dequantized := written(t, model, []*lora.Files{adapter}, other, BF16)
	require.Equal(t, original, dequantized)
}

// Types stay as the files have them unless one is asked for; what is in 4 bits gets the configuration's.
func TestTypesStayUnlessOneIsAskedFor(t *testing.T) {
	types := func(dir string) (found map[safetensors.DType]int) {
		f, err := os.Open(filepath.Join(dir, "model.safetensors"))
		require.NoError(t, err)
		defer f.Close()
		info, err := f.Stat()
		require.NoError(t, err)
		file, err := safetensors.Read(f, info.Size(), dir)
		require.NoError(t, err)
		found = map[safetensors.DType]int{}
		for _, tensor := range file.Tensors() {
			found[tensor.DType]++
		}
		return found
	}
	for name, want := range map[string]safetensors.DType{"tiny_16bit": safetensors.F16, "granite4": safetensors.BF16} {
		model, adapter, from := caseOf(t, name)
		dir, _ := written(t, model, []*lora.Files{adapter}, Base{}, "")
		require.Equal(t, types(from), types(dir))
		require.Len(t, types(dir), 1)
		require.NotZero(t, types(dir)[want])
		for to, as := range stored {
			dir, _ := written(t, model, []*lora.Files{adapter}, Base{}, to)
			require.Equal(t, map[safetensors.DType]int{as.dtype: types(from)[want]}, types(dir))
			config, err := os.ReadFile(filepath.Join(dir, "config.json"))
			require.NoError(t, err)
			var keys map[string]any
			require.NoError(t, json.Unmarshal(config, &keys))
			if dtype, ok := keys["dtype"]; ok {
				require.Equal(t, as.torch, dtype)
			}
		}
	}
}
