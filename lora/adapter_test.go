package lora

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/optim"
)

func linears() []*Linear {
	return []*Linear{
		{Name: "model.layers.0.self_attn.q_proj", In: 64, Out: 32},
		{Name: "model.layers.0.mlp.down_proj", In: 128, Out: 64, Index: 1},
	}
}

func TestAttachRefusesWhatCannotBe(t *testing.T) {
	dev := gpu.NewDry(gpu.Options{})
	for _, c := range []struct {
		config  Config
		linears []*Linear
		message string
	}{
		{
			Config{Rank: 33, Alpha: 1, Targets: []string{"all-linear"}}, linears(),
			"lora_r is 33, model.layers.0.self_attn.q_proj is 32×64 (a rank of at most 32)",
		},
		{
			Config{Rank: 4, Alpha: 1, Targets: []string{"q_proj", "qproj"}}, linears(),
			`lora_target_modules has "qproj", the model has no such linear (it has q_proj, down_proj)`,
		},
		{
			Config{Rank: 4096, Alpha: 1, Targets: []string{"all-linear"}}, []*Linear{{Name: "l.gate_proj", In: 14336, Out: 14336}},
			"a matrix of l.gate_proj would take 224 MiB where the device binds 120",
		},
	} {
		_, err := Attach(dev, c.linears, c.config, optim.Options{})
		require.ErrorContains(t, err, c.message)
	}
}

// An odd rank is padded on the device and nowhere else.
func TestOddRank(t *testing.T) {
	all := linears()
	a, err := Attach(gpu.NewDry(gpu.Options{}), all, Config{Rank: 5, Alpha: 10, Targets: []string{"down_proj"}}, optim.Options{})
	require.NoError(t, err)
	require.Nil(t, all[0].A)
	require.Equal(t, []int{8, 128, 64, 8}, []int{all[1].A.Rows, all[1].A.Cols, all[1].B.Rows, all[1].B.Cols})
	require.EqualValues(t, 5*(128+64), a.Parameters())
	require.EqualValues(t, 2, all[1].Scaling)
	tensors, err := a.Tensors(t.Context(), a.State.Param)
	require.NoError(t, err)
	require.Equal(t, "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight", tensors[0].Name)
	require.Equal(t, []int{5, 128, 5 * 128}, []int{tensors[0].Rows, tensors[0].Cols, len(tensors[0].Values)})
	require.NoError(t, a.SetTensors(tensors, "x"))
	require.ErrorContains(t, a.SetTensors(tensors[:1], "x"), "lora_B.weight is missing")
	tensors[1].Rows++
	require.ErrorContains(t, a.SetTensors(tensors, "x"), "lora_B.weight is 65×5, the model wants 64×5")
}

func TestAModelIsNoAdapter(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o666))
	_, err := Open(checkpoint.Files{}, dir)
	require.EqualError(t, err, "load adapter "+dir+
		": it is a model and no adapter (an adapter is a folder with adapter_config.json and adapter_model.safetensors)")
}
