package export_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/pretrained"
)

// llama.cpp computes from the base and the adapter, each a file of ours, what our decoder does from the merged model.
func TestAdapters(t *testing.T) {
	_, _, program := tools(t)
	for name, folder := range models(t) {
		weights := filepath.Join(filepath.Dir(folder), "adapter_after.safetensors")
		if _, err := os.Stat(weights); err != nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			adapter := t.TempDir()
			for from, to := range map[string]string{
				weights: "adapter_model.safetensors", filepath.Join(filepath.Dir(folder), "init_adapter", "adapter_config.json"): "adapter_config.json",
			} {
				data, err := os.ReadFile(from)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(adapter, to), data, 0o666))
			}
			alone := filepath.Join(t.TempDir(), "adapter.gguf")
			_, said, failed := output(t, nil, program, "export", "--model", folder, "--adapter", adapter, "--adapter-only", "--output", alone)
			require.NoError(t, failed, said)
			base, _ := exported(t, folder, "f32")
			merged, _ := exported(t, folder, "f32", "--adapter", adapter)
			m, err := pretrained.Open(merged)
			require.NoError(t, err)
			defer m.Close()
			ids := sequence(m.Spec.Vocab)
			want := logits(decoder(t, m), ids)
			without := compare(t, want, ask(t, nil, ids, base).Logits, m.Spec.Vocab)
			d := compare(t, want, ask(t, nil, ids, base, alone).Logits, m.Spec.Vocab)
			t.Logf("%v; without it %v", d, without)
			require.Greater(t, without.mean, 10*bounds["f32"], "the adapter changes nothing")
			require.Less(t, d.mean, bounds["f32"])
			require.Empty(t, d.wrong)
		})
	}
}
