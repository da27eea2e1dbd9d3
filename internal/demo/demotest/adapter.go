//go:build !js

package demotest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/safetensors"
)

// Adapter writes a PEFT adapter of all linears of the folder's model, with random matrices, and returns its path. size
// is about the standard deviation of what it adds to a weight: 0.05 changes what a model says. It writes the files by
// itself: package lora brings the device, and tests of packages that are vetted for other systems have none.
func Adapter(t testing.TB, model string, rank int, seed uint64, size float64) string {
	t.Helper()
	name := filepath.Join(model, "model.safetensors")
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	file, err := safetensors.Read(bytes.NewReader(data), int64(len(data)), name)
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(seed, seed))
	var tensors []safetensors.Data
	add := func(name string, rows, cols int, deviation float64) {
		values := make([]float32, rows*cols)
		for i := range values {
			values[i] = float32(deviation * rng.NormFloat64())
		}
		tensors = append(tensors, safetensors.Data{
			Name: "base_model.model." + name, DType: safetensors.F32, Shape: []int{rows, cols}, Bytes: safetensors.Float32Bytes(values),
		})
	}
	for _, tensor := range file.Tensors() {
		if linear, is := strings.CutSuffix(tensor.Name, ".weight"); is && strings.HasSuffix(linear, "_proj") {
			add(linear+".lora_A.weight", rank, tensor.Shape[1], 1)
			add(linear+".lora_B.weight", tensor.Shape[0], rank, size/float64(rank))
		}
	}
	dir := filepath.Join(t.TempDir(), fmt.Sprintf("adapter-%d", seed))
	require.NoError(t, os.Mkdir(dir, 0o777))
	config := fmt.Sprintf(`{"peft_type":"LORA","target_modules":"all-linear","r":%d,"lora_alpha":%[1]d}`, rank)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "adapter_config.json"), []byte(config), 0o666))
	var weights bytes.Buffer
	require.NoError(t, safetensors.Write(&weights, map[string]string{"format": "pt"}, tensors))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "adapter_model.safetensors"), weights.Bytes(), 0o666))
	return dir
}
