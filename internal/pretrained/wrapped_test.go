package pretrained

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
)

// wrappedFolder is a parity case's Gemma 3 within the class that reads images too, its tensors under other prefixes.
func wrappedFolder(t *testing.T, plain *Model, rename func(name string) string) memory {
	text, err := os.ReadFile("../parity/testdata/gemma3_text/model/config.json")
	require.NoError(t, err)
	var inner map[string]any
	require.NoError(t, json.Unmarshal(text, &inner))
	delete(inner, "architectures")
	outer := map[string]any{"architectures": []string{"Gemma3ForConditionalGeneration"}, "model_type": "gemma3", "text_config": inner,
		"vision_config": map[string]any{"hidden_size": 8}, "eos_token_id": []int{1, 6}}
	delete(inner, "eos_token_id")
	config, err := json.Marshal(outer)
	require.NoError(t, err)
	var tensors []safetensors.Data
	for _, each := range plain.Tensors() {
		x := make([]float32, each.Rows*each.Cols)
		require.NoError(t, plain.ReadRows(each.Name, 0, each.Rows, x))
		shape := []int{each.Rows, each.Cols}
		if each.Rows == 1 {
			shape = shape[1:]
			for i := range x {
				x[i]-- // as the file has a norm
			}
		}
		data := safetensors.Data{Name: rename(each.Name), DType: safetensors.F32, Shape: shape, Bytes: safetensors.Float32Bytes(x)}
		tensors = append(tensors, data)
	}
	image := safetensors.Data{Name: "vision_tower.patch.weight", DType: safetensors.F32, Shape: []int{1}, Bytes: make([]byte, 4)}
	var weights bytes.Buffer
	require.NoError(t, safetensors.Write(&weights, nil, append(tensors, image)))
	return memory{"config.json": config, "model.safetensors": weights.Bytes()}
}

func TestALanguageModelWithinOneThatReadsImages(t *testing.T) {
	plain, err := Open(filepath.FromSlash("../parity/testdata/gemma3_text/model"))
	require.NoError(t, err)
	defer plain.Close()
	for style, rename := range map[string]func(name string) string{
		"as its makers wrote it": func(name string) string { return "language_model." + name },
		"as transformers writes it": func(name string) string {
			return "model.language_model." + strings.TrimPrefix(name, "model.")
		},
	} {
		t.Run(style, func(t *testing.T) {
			m, err := OpenFolder(wrappedFolder(t, plain, rename), "m")
			require.NoError(t, err)
			want := plain.Spec
			want.Wrapper = "Gemma3ForConditionalGeneration"
			require.Equal(t, want, m.Spec)
			require.Equal(t, []int{1, 6}, m.Tokens.EOS)
			require.Equal(t, []string{"The language model is read alone: 1 tensors that only images go through are left out: " +
				"vision_tower.patch.weight."}, m.Warnings)
			for _, each := range plain.Spec.Tensors() {
				require.NoError(t, m.Expect(each.Name, each.Rows, each.Cols))
				want, got := make([]float32, each.Rows*each.Cols), make([]float32, each.Rows*each.Cols)
				require.NoError(t, plain.ReadRows(each.Name, 0, each.Rows, want))
				require.NoError(t, m.ReadRows(each.Name, 0, each.Rows, got))
				if each.Role == spec.Vector { // 1 was taken off and added again
					require.InDeltaSlice(t, want, got, 1e-6)
				} else {
					require.Equal(t, want, got)
				}
			}
		})
	}
}

// transformers goes by the outer configuration, which is true by default, and by what the files hold.
func TestAWrappedModelsHeadIsTiedByTheOuterConfiguration(t *testing.T) {
	plain, err := Open(filepath.FromSlash("../parity/testdata/gemma3_text/model"))
	require.NoError(t, err)
	defer plain.Close()
	prefix := func(name string) string { return "language_model." + name }
	for _, c := range []struct {
		outer, inner any
		tied         bool
	}{{true, false, true}, {nil, false, true}, {nil, true, true}, {nil, nil, true}, {false, true, false}, {false, nil, false}} {
		files := wrappedFolder(t, plain, prefix)
		var config map[string]any
		require.NoError(t, json.Unmarshal(files["config.json"], &config))
		set := func(keys map[string]any, value any) {
			delete(keys, "tie_word_embeddings")
			if value != nil {
				keys["tie_word_embeddings"] = value
			}
		}
		set(config, c.outer)
		set(config["text_config"].(map[string]any), c.inner)
		files["config.json"], err = json.Marshal(config)
		require.NoError(t, err)
		m, err := OpenFolder(files, "m")
		require.NoError(t, err)
		require.Equal(t, c.tied, m.Spec.TiedHead, "%v around %v", c.outer, c.inner)
	}
}

func TestWhatIsWrongWithinAWrapperIsSaidWithItsPlace(t *testing.T) {
	gemma, llava := `{"architectures":["Gemma3ForConditionalGeneration"]`, `{"architectures":["LlavaForConditionalGeneration"]`
	for config, want := range map[string]string{
		gemma + `}`: "text_config.model_type is null",
		gemma + `,"text_config":{"model_type":"gemma3_text","hidden_size":"x"}}`: "text_config.hidden_size is",
		llava + `,"text_config":{"model_type":"llama"}}`:                         `architectures is ["LlavaForCond`,
	} {
		_, err := OpenFolder(memory{"config.json": []byte(config)}, "m")
		require.ErrorContains(t, err, want)
		require.True(t, usererr.Is(err, usererr.Format) || usererr.Is(err, usererr.Unsupported))
	}
}
