package parity

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/testfiles"
)

// Real models whose file is at hand: every quantized matrix to the bit, and the logits of two positions of a row, are
// PyTorch's.
func TestRealModelsLogitsArePyTorchs(t *testing.T) {
	const ending = ".eval.json"
	found, err := filepath.Glob(filepath.Join(testfiles.Reference(t, "real"), "*"+ending))
	require.NoError(t, err)
	require.NotEmpty(t, found)
	for _, path := range found {
		name := strings.TrimSuffix(filepath.Base(path), ending)
		t.Run(name, func(t *testing.T) {
			source, err := pretrained.Open(testfiles.RealModel(t, name+".gguf"))
			require.NoError(t, err)
			defer source.Close()
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			var want struct {
				Row struct {
					IDs []uint32 `json:"input_ids"`
				} `json:"first_row"`
			}
			c := Case{}
			require.NoError(t, json.Unmarshal(text, &want))
			require.NoError(t, json.Unmarshal(text, &struct {
				Quantized any `json:"quantized_fingerprints"`
			}{&c.Quantized}))
			require.NoError(t, c.CheckFrozen(source))
			logits, err := readTensors(folder(filepath.Dir(path)), name+".logits.safetensors")
			require.NoError(t, err)
			got := rowsOfLogits(t, source, want.Row.IDs, 3, 15)
			difference := nmse(got, logits["logits"], nil)
			t.Logf("logits: NMSE %.2g of an allowed 1e-9; %d matrices to the bit", difference, len(c.Quantized))
			require.Less(t, difference, 1e-9)
		})
	}
}

// rowsOfLogits are those behind positions of a row.
func rowsOfLogits(t *testing.T, source *pretrained.Model, ids []uint32, positions ...int) (rows []float32) {
	dev := open(t, gpu.Limits{})
	q := settings.Quantization{Quantize: settings.QuantizedNF4, BlockSize: blockSize}
	m, err := model.Load(context.Background(), dev, source, model.LoadOptions{Format: engine.FormatsOf(source.Spec, q)})
	require.NoError(t, err)
	defer m.Release()
	e, err := engine.New(dev, m, nil, nil, 0)
	require.NoError(t, err)
	defer e.Release()
	g, err := e.NewGenerator(len(ids) + 1)
	require.NoError(t, err)
	defer g.Release()
	for _, at := range positions {
		row, err := g.Logits(context.Background(), ids[:at+1])
		require.NoError(t, err)
		rows = append(rows, row...)
	}
	return rows
}
