package export_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/reference/referencetest"
	"qlora-wgpu/internal/testfiles"
)

// positions are how many tokens are computed.
const positions = 64

// bounds of the KL divergence, in nats, on average over the positions. llama.cpp rounds what goes into products: to
// float16 where the weights are, which gave up to 8.8e-6, to 8 bits with a scale for 32 or 256 where they are
// quantized, which gave up to 7.4e-3 and 1.24e-2 (SmolLM2-135M). That this is no fault of the file shows its own values
// as float32, which have to agree as any float32 file does.
var bounds = map[string]float64{"f32": 1e-5, "f16": 1e-4, "q8_0": 2e-2, "q4_k_m": 2e-2}

// models are folders and files of every family, by name.
func models(t *testing.T) map[string]string {
	all := map[string]string{"demo": filepath.Join("..", "..", "internal", "demo", "model")}
	for _, pattern := range []string{filepath.Join("..", "..", "internal", "parity", "testdata"), testfiles.Reference(t, "families")} {
		folders, err := filepath.Glob(filepath.Join(pattern, "*", "model"))
		require.NoError(t, err)
		require.NotEmpty(t, folders)
		for _, folder := range folders {
			all[filepath.Base(filepath.Dir(folder))] = folder
		}
	}
	all["smollm3"] = changed(t, all["smollm3"], "no_rope_layers", []int{1, 1, 1}) // llama.cpp has every fourth layer without
	all["SmolLM2-135M"] = testfiles.Models(t, "SmolLM2-135M-Instruct.Q4_1.gguf")
	return all
}

// changed is a folder with another value of a key.
func changed(t *testing.T, folder, key string, value any) string {
	dir := filepath.Join(t.TempDir(), "model")
	require.NoError(t, os.CopyFS(dir, os.DirFS(folder)))
	name := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	var config map[string]any
	require.NoError(t, json.Unmarshal(text, &config))
	require.Contains(t, config, key)
	config[key] = value
	text, err = json.Marshal(config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, text, 0o666))
	return dir
}

// llama.cpp computes from our files what our own decoder does, from the values that our reader finds there and, where
// float16 holds those of the model's folder, from that by other code.
func TestLogits(t *testing.T) {
	tools(t)
	for name, folder := range models(t) {
		for _, kind := range []string{"f32", "f16", "q8_0", "q4_k_m"} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				file, said := exported(t, folder, kind)
				m, err := pretrained.Open(file)
				require.NoError(t, err)
				defer m.Close()
				ids := sequence(m.Spec.Vocab)
				got := ask(t, nil, ids, file).Logits
				want := logits(decoder(t, m), ids)
				d := compare(t, want, got, m.Spec.Vocab)
				t.Log(d)
				require.Less(t, d.mean, bounds[kind])
				require.Empty(t, d.wrong)
				if strings.HasPrefix(kind, "q") { // the same values in float32: the difference is llama.cpp's
					wide, _ := exported(t, file, "f32")
					d = compare(t, want, ask(t, nil, ids, wide).Logits, m.Spec.Vocab)
					t.Log("as float32:", d)
					require.Less(t, d.mean, bounds["f32"])
				}
				if kind != "f16" || strings.HasSuffix(folder, ".gguf") || strings.Contains(said, "see the last") || name == "demo" {
					return
				}
				own, err := referencetest.Decoder(folder, false)
				if err != nil {
					t.Log(err)
					return
				}
				d = compare(t, logits(own, ids), got, m.Spec.Vocab)
				t.Log("from the folder:", d)
				require.Less(t, d.mean, bounds[kind])
				require.Empty(t, d.wrong)
			})
		}
	}
}

// sequence are ids of a vocabulary.
func sequence(vocab int) (ids []uint32) {
	r := rand.New(rand.NewPCG(1, uint64(vocab)))
	for range positions {
		ids = append(ids, uint32(r.IntN(vocab)))
	}
	return ids
}

// The gguf package reads every tensor as we do, to the bit.
func TestValues(t *testing.T) {
	python, _, _ := tools(t)
	for name, folder := range models(t) {
		for _, kind := range []string{"f32", "f16", "bf16", "q8_0", "q4_0", "q4_k_m"} {
			if name == "SmolLM2-135M" && kind != "q4_k_m" {
				continue
			}
			t.Run(name+"/"+kind, func(t *testing.T) {
				file, _ := exported(t, folder, kind)
				theirs, listed, failed := output(t, nil, python, "dequantize.py", file)
				require.NoError(t, failed, listed)
				f, err := os.Open(file)
				require.NoError(t, err)
				defer f.Close()
				info, err := f.Stat()
				require.NoError(t, err)
				ours, err := gguf.Read(f, info.Size(), file)
				require.NoError(t, err)
				for _, tensor := range ours.Tensors() {
					line := fmt.Sprintf("%s %v\n", tensor.Name, tensor.Type)
					rest, found := strings.CutPrefix(listed, line)
					require.True(t, found, "%q instead of %q", listed[:min(len(listed), 80)], line)
					listed = rest
					x := make([]float32, tensor.Rows()*tensor.Cols())
					require.NoError(t, ours.ReadFloat32(tensor, x, 0, tensor.Rows()))
					for i, v := range x {
						their := math.Float32frombits(binary.LittleEndian.Uint32(theirs[4*i:]))
						require.Equal(t, their, v, "%s, value %d", tensor.Name, i)
					}
					theirs = theirs[4*len(x):]
				}
				require.Empty(t, theirs)
			})
		}
	}
}
