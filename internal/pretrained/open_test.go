//go:build !js

package pretrained

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/testfiles"
	"qlora-wgpu/internal/usererr"
)

func TestOpenFolder(t *testing.T) {
	m, err := Open(testfiles.Reference(t, "parity", "tiny", "model"))
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close()) }()
	require.Equal(t, spec.Spec{
		Family: "LlamaForCausalLM", Hidden: 128, Vocab: 384, MaxPositions: 128, NormEps: 1e-5,
		Layers: layers(2, 4, 2, 32, 320, false),
	}, m.Spec)
	require.Equal(t, Tokens{BOS: 1, EOS: []int{2}, Stop: []int{2}, Pad: -1}, m.Tokens)
	require.Len(t, m.Tensors(), 21)
	const down = "model.layers.0.mlp.down_proj.weight"
	require.NoError(t, m.Expect(down, 128, 320))
	require.Equal(t, "BF16", m.Type(down))
	require.NoError(t, m.Expect("model.norm.weight", 1, 128))
	x := make([]float32, 128*320)
	require.NoError(t, m.ReadRows(down, 0, 128, x))
	require.Equal(t, "b309580f98365d335eb8f039b1dc82a628be53fffac29303dedf406671b6fae4", sum(x)) // numpy
	part := make([]float32, 3*320)
	require.NoError(t, m.ReadRows(down, 40, 3, part))
	require.Equal(t, x[40*320:43*320], part)
	require.Empty(t, m.Tokenizer().Named)

	require.ErrorContains(t, m.Expect(down, 320, 128),
		"tensor model.layers.0.mlp.down_proj.weight has shape [128, 320], the configuration asks for [320, 128]")
	err = m.Expect("model.layers.2.mlp.down_proj.weight", 128, 320)
	require.True(t, usererr.Is(err, usererr.Format))
	require.ErrorContains(t, err, "tensor model.layers.2.mlp.down_proj.weight is missing, shape [128, 320] was wanted")
	require.ErrorContains(t, m.ReadRows("absent", 0, 1, x), "tensor absent is missing")
	require.Panics(t, func() { _ = m.ReadRows(down, 127, 2, x[:640]) })
	require.Panics(t, func() { _ = m.ReadRows(down, 0, 2, x[:639]) })
}

// TestOpenGGUF: the hashes were computed with the gguf package and numpy (dequantize, then undo the interleaving).
func TestOpenGGUF(t *testing.T) {
	path := testfiles.Models(t, "SmolLM2-135M-Instruct.Q4_1.gguf")
	m, err := Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close()) }()
	require.Equal(t, spec.Spec{
		Family: "LlamaForCausalLM", Hidden: 576, Vocab: 49152, MaxPositions: 8192, NormEps: float64(float32(1e-5)), TiedHead: true,
		Layers: rotating(layers(30, 9, 3, 64, 1536, false), spec.RoPE{Dim: 64, Theta: 100000}),
	}, m.Spec)
	require.Equal(t, Tokens{BOS: 1, EOS: []int{2}, Stop: []int{2}, Pad: 2}, m.Tokens)
	require.Len(t, m.Tensors(), 272)
	for _, c := range []struct {
		name       string
		rows, cols int
		hash       string
	}{
		{"model.layers.3.self_attn.q_proj.weight", 576, 576, "104838da8b4afb8d4d2032db69cd49cd12b9558520cbca07b47095a03dec7691"},
		{"model.layers.3.self_attn.k_proj.weight", 192, 576, "64d260baa4d5478cd91053172dc60f6cb429f1860d6882920f4f8c18b846464a"},
		{"model.layers.0.mlp.down_proj.weight", 576, 1536, "0b78b2226f740ed5594510ed990ea6c2846a6a889ab07cf251e4a489df1d75b0"},
		{"model.embed_tokens.weight", 49152, 576, "3fd491c8066dd9dc1a2bf6796701526c82817d95c0ecabacdef3013c2b8bbbaa"},
		{"model.norm.weight", 1, 576, "3b87f8e27335e67fc08f159cabfd2d18f205d6c5b225a6f978153552bf01d559"},
	} {
		require.NoError(t, m.Expect(c.name, c.rows, c.cols))
		x := make([]float32, c.rows*c.cols)
		require.NoError(t, m.ReadRows(c.name, 0, c.rows, x))
		require.Equal(t, c.hash, sum(x), c.name)
	}
	part := make([]float32, 130*576)
	require.NoError(t, m.ReadRows("model.layers.3.self_attn.q_proj.weight", 70, 130, part))
	require.Equal(t, "ddba52c8d2f9df3371b036faf7ce00feddf194d1925a33f073cf7640741c3581", sum(part))

	tok := m.Tokenizer()
	require.Equal(t, []string{"gpt2", "smollm"}, []string{tok.Model, tok.Pre})
	require.Equal(t, map[string]string{
		"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>", "pad_token": "<|im_end|>",
	}, tok.Named)
	require.Equal(t, []int{49152, 49152, 48900}, []int{len(tok.Tokens), len(tok.Types), len(tok.Merges)})
	require.Equal(t, 3, tok.Types[1])
	require.Contains(t, tok.Templates["default"], "<|im_start|>")
	require.False(t, tok.AddBos)
	require.Nil(t, tok.JSON)

	data, err := os.ReadFile(path)
	require.NoError(t, err)
	again, err := openIn(memory{"another name": data}, "another name")
	require.NoError(t, err)
	require.Equal(t, m.ContentHash(), again.ContentHash())
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(filepath.Join(dir, "absent"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "open model "+filepath.Join(dir, "absent")+": ")
	_, err = Open(dir)
	require.EqualError(t, err, "open model "+dir+": there is no config.json (a model folder holds config.json and *.safetensors)")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "adapter_config.json"), []byte("{}"), 0o666))
	_, err = Open(dir)
	require.EqualError(t, err, "open model "+dir+": it is an adapter and no model (give it as the adapter, and its base model as the model)")
	for _, content := range []string{"", "GG", "{\"a\":1}"} {
		path := filepath.Join(dir, "file")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err = Open(path)
		require.True(t, usererr.Is(err, usererr.Format))
		require.ErrorContains(t, err, "the file is no GGUF (give a GGUF file or the folder that holds config.json")
	}
	_, err = Open(os.DevNull)
	require.ErrorContains(t, err, "not a regular file")
}

// TestFileCutUnderTheMap: a fault on a mapped page must come back as an error.
func TestFileCutUnderTheMap(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows refuses to cut a mapped file")
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(minimal), 0o600))
	path := filepath.Join(dir, "model.safetensors")
	require.NoError(t, os.WriteFile(path, weights(t, 0, "a"), 0o600))
	m, err := Open(dir)
	require.NoError(t, err)
	x := make([]float32, 6)
	require.NoError(t, m.ReadRows("a", 0, 2, x))
	require.Equal(t, float32(5), x[5])
	require.NoError(t, os.Truncate(path, 0))
	err = m.ReadRows("a", 0, 2, x)
	require.True(t, usererr.Is(err, usererr.Format))
	require.ErrorContains(t, err, "the file was cut off while it was open")
	require.NoError(t, m.Close())
	require.Error(t, m.ReadRows("a", 0, 2, x))
}

func TestReadRowsConcurrently(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(minimal), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors"), weights(t, 0, "a", "b"), 0o600))
	m, err := Open(dir)
	require.NoError(t, err)
	defer m.Close()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			x, name := make([]float32, 3), []string{"a", "b"}[i%2]
			for range 100 {
				if err := m.ReadRows(name, 1, 1, x); err != nil || x[0] != float32(3+i%2*6) {
					t.Error(name, x, err)
				}
			}
		})
	}
	group.Wait()
}
