package convert

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/reference"
	"qlora-wgpu/internal/reference/referencetest"
)

// What is written in 4 bits is read as bitsandbytes' own: what linears decode to is what quantizing them gives, with
// double quantization and without; all else stays as it is.
func TestQuantizedFoldersAreReadAsTheyWereMade(t *testing.T) {
	for _, name := range []string{"tiny", "gemma3_text", "granite4", "tiny_16bit"} {
		for kind, q := range map[string]spec.Quantized{"double": {BlockSize: 64, Double: true}, "single": {BlockSize: 128}} {
			t.Run(name+" "+kind, func(t *testing.T) {
				model, _, _ := caseOf(t, name)
				w, _, err := New(model, nil, Base{})
				require.NoError(t, err)
				dir := filepath.Join(t.TempDir(), "nf4")
				require.NoError(t, w.WriteFolder(context.Background(), checkpoint.Files{}, filepath.ToSlash(dir), Options{NF4: &q}))
				again := openModel(t, dir)
				require.Empty(t, again.Warnings)
				linears := 0
				for _, tensor := range model.Spec.Tensors() {
					x, y := make([]float32, tensor.Rows*tensor.Cols), make([]float32, tensor.Rows*tensor.Cols)
					require.NoError(t, model.ReadRows(tensor.Name, 0, tensor.Rows, x))
					require.NoError(t, again.ReadRows(tensor.Name, 0, tensor.Rows, y))
					if tensor.Role != spec.Matrix {
						require.Equal(t, x, y, tensor.Name)
						continue
					}
					linears++
					require.Equal(t, q, again.Spec.Quantized[tensor.Name])
					want := reference.NF4QuantizeSingle(x, q.BlockSize)
					if q.Double {
						want = reference.NF4Quantize(x, q.BlockSize)
					}
					require.Equal(t, want.Dequantize(len(x)), referencetest.Wide(y), tensor.Name)
				}
				require.Len(t, again.Spec.Quantized, linears)

				var config struct {
					Quantization struct {
						Double bool     `json:"bnb_4bit_use_double_quant"`
						Skip   []string `json:"llm_int8_skip_modules"`
					} `json:"quantization_config"`
				}
				text, err := os.ReadFile(filepath.Join(dir, "config.json"))
				require.NoError(t, err)
				require.NoError(t, json.Unmarshal(text, &config))
				require.Equal(t, q.Double, config.Quantization.Double)
				require.Equal(t, []string{"lm_head"}, config.Quantization.Skip)

				w, _, err = New(again, nil, Base{})
				require.NoError(t, err)
				err = w.WriteFolder(context.Background(), checkpoint.Files{}, filepath.ToSlash(dir+"2"), Options{NF4: &q})
				require.ErrorContains(t, err, "the model's files hold 4 bits already")
			})
		}
	}
}
