//go:build !js

// Package demotest writes the embedded model into a test's folder, cut to its first layers: a real model with a
// tokenizer and a chat template, of which a step takes a fraction of a second on a software device. Only tests import
// it.
package demotest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/safetensors"
)

// Model writes a Hugging Face folder with the first layers of the embedded model and returns its path. change may edit
// the configuration before it is written; nil leaves it.
func Model(t testing.TB, layers int, change func(config map[string]any)) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	require.NoError(t, os.CopyFS(dir, demo.ModelFiles()))

	name := filepath.Join(dir, "config.json")
	var config map[string]any
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &config))
	config["num_hidden_layers"] = layers
	if change != nil {
		change(config)
	}
	text, err = json.Marshal(config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, text, 0o666))

	name = filepath.Join(dir, "model.safetensors")
	weights, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, firstLayers(t, weights, layers), 0o666))
	return dir
}

// OwnCache lets the process, and those that it starts, keep what they measure about the device in a folder that only
// tests use: a user's choice of kernels must not change what two runs of a test compute. The driver's cache of compiled
// shaders stays where it is. TestMain calls it.
func OwnCache() {
	dir, err := os.UserCacheDir()
	if err != nil {
		return // nothing is cached then
	}
	if os.Getenv("MESA_SHADER_CACHE_DIR") == "" {
		os.Setenv("MESA_SHADER_CACHE_DIR", dir)
	}
	os.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "qlora-wgpu-tests"))
}

// Rows is the embedded data set's first rows as a file in a folder of the test.
func Rows(t testing.TB, n int) string {
	t.Helper()
	lines := bytes.SplitAfterN(demo.Train(), []byte("\n"), n+1)
	require.Len(t, lines, n+1)
	name := filepath.Join(t.TempDir(), "train.jsonl")
	require.NoError(t, os.WriteFile(name, bytes.Join(lines[:n], nil), 0o666))
	return name
}

// firstLayers drops the tensors of the other layers.
func firstLayers(t testing.TB, weights []byte, layers int) []byte {
	file, err := safetensors.Read(bytes.NewReader(weights), int64(len(weights)), "model.safetensors")
	require.NoError(t, err)
	var kept []safetensors.Data
	for _, tensor := range file.Tensors() {
		var layer int
		if rest, ok := strings.CutPrefix(tensor.Name, "model.layers."); ok {
			_, err := fmt.Sscanf(rest, "%d.", &layer)
			require.NoError(t, err)
			if layer >= layers {
				continue
			}
		}
		data := safetensors.Data{
			Name: tensor.Name, DType: tensor.DType, Shape: tensor.Shape, Bytes: make([]byte, tensor.Elements()*tensor.DType.Size()),
		}
		require.NoError(t, file.ReadBytes(tensor, data.Bytes, 0))
		kept = append(kept, data)
	}
	var out bytes.Buffer
	require.NoError(t, safetensors.Write(&out, map[string]string{"format": "pt"}, kept))
	return out.Bytes()
}
