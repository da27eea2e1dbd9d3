package convert

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/lora"
)

// writtenGGUF is a file of a model with adapters in it, opened again.
func writtenGGUF(t *testing.T, w *Weights, kind gguf.FileType) (m *pretrained.Model, warnings []string) {
	t.Helper()
	g, warnings, err := w.GGUF(GGUFOptions{Type: kind, Name: "case"})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "model.gguf")
	require.NoError(t, g.Write(context.Background(), checkpoint.Files{}, filepath.ToSlash(file)))
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, g.Size(), info.Size())
	return openModel(t, file), warnings
}

// values are all of a tensor.
func values(t *testing.T, m *pretrained.Model, name string) []float32 {
	t.Helper()
	tensor, ok := m.Lookup(name)
	require.True(t, ok, name)
	x := make([]float32, tensor.Rows*tensor.Cols)
	require.NoError(t, m.ReadRows(name, 0, tensor.Rows, x))
	return x
}

// Every kind of model, with an adapter in it, comes back from a GGUF file of float32 with the values of the merge: rows
// of q and k, which llama.cpp has in turns, fused matrices that it has apart, scores that it scales otherwise.
func TestWriteGGUF(t *testing.T) {
	for _, name := range append([]string{"gemma2", "ministral3"}, cases...) {
		t.Run(name, func(t *testing.T) {
			model, adapter, _ := caseOf(t, name)
			w, _, err := New(model, []*lora.Files{adapter}, Base{})
			require.NoError(t, err)
			back, warnings := writtenGGUF(t, w, gguf.AllF32)
			t.Log(warnings)
			changed := 0
			for _, tensor := range model.Spec.Tensors() {
				source := w.Open(tensor.Name)
				want := make([]float64, tensor.Rows*tensor.Cols)
				require.NoError(t, source.Read(0, tensor.Rows, want))
				if w.Changed(tensor.Name) {
					changed++
				}
				var got []float32
				if apart := strings.Replace(tensor.Name, "shared_mlp.input_linear", "mlp.gate_proj", 1); apart != tensor.Name {
					got = append(values(t, back, apart), values(t, back, strings.Replace(apart, "gate_proj", "up_proj", 1))...)
				} else {
					got = values(t, back, strings.Replace(tensor.Name, "shared_mlp.output_linear", "mlp.down_proj", 1))
				}
				scale := scoreFactor(model.Spec, back.Spec, tensor)
				for i := range want {
					require.InDelta(t, want[i]*scale, got[i], 1e-7*(1e-3+abs(want[i])), "%s %d", tensor.Name, i)
				}
			}
			require.NotZero(t, changed)
		})
	}
}

func abs(x float64) float64 { return max(x, -x) }

// scoreFactor is what a tensor of queries has to be multiplied by, from the two descriptions.
func scoreFactor(want, got spec.Spec, tensor spec.Tensor) float64 {
	if tensor.Layer < 0 || !strings.HasPrefix(want.Family, "Gemma") {
		return 1
	}
	of := spec.QProj
	if want.Layers[0].QKNorm != spec.NoQKNorm {
		of = spec.QNorm
	}
	if tensor.Module != of {
		return 1
	}
	return want.Layers[tensor.Layer].ScoreScale / got.Layers[tensor.Layer].ScoreScale
}
