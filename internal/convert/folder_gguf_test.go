package convert

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/gguf"
)

// A GGUF file is a base too: what is written of it as a folder describes the same model and holds the same values, in
// Hugging Face's order of rows and with Gemma's norms less 1.
func TestFolderOfGGUF(t *testing.T) {
	for _, name := range append([]string{"gemma2", "ministral3"}, cases...) {
		t.Run(name, func(t *testing.T) {
			model, _, _ := caseOf(t, name)
			w, _, err := New(model, nil, Base{})
			require.NoError(t, err)
			file, _ := writtenGGUF(t, w, gguf.AllF32)
			again, _, err := New(file, nil, Base{})
			require.NoError(t, err)
			dir := filepath.Join(t.TempDir(), "folder")
			require.NoError(t, again.WriteFolder(context.Background(), checkpoint.Files{}, filepath.ToSlash(dir), Options{}))
			folder := openModel(t, dir)
			for _, tensor := range file.Spec.Tensors() {
				want, got := values(t, file, tensor.Name), values(t, folder, tensor.Name)
				require.Equal(t, want, got, tensor.Name)
				require.True(t, slices.ContainsFunc(got, func(x float32) bool { return x != 0 }), tensor.Name)
			}
			require.Empty(t, difference(file.Spec, folder.Spec))
			require.Equal(t, file.Spec.Family, folder.Spec.Family)
			require.Equal(t, file.Tokens, folder.Tokens)
			require.Equal(t, "float32", folder.ConfigType())
		})
	}
}
