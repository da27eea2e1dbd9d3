package parity

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/testfiles"
)

// folder opens the files of a case.
type folder string

type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

func (d folder) Open(name string) (pretrained.File, error) {
	f, err := os.Open(filepath.Join(string(d), name))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	return file{f, info.Size()}, err
}

// model is the case's own, or the 135M GGUF.
func (d folder) model(t *testing.T) *pretrained.Model {
	path := filepath.Join(string(d), "model")
	if _, err := os.Stat(path); err != nil {
		path = testfiles.Models(t, "SmolLM2-135M-Instruct.Q4_1.gguf")
	}
	m, err := pretrained.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

func open(t testing.TB, limits gpu.Limits) *gpu.Device {
	d, err := gpu.Open(context.Background(), gpu.Options{Adapter: os.Getenv("QLORA_DEVICE"), Limits: limits})
	require.NoError(t, err)
	t.Cleanup(d.Release)
	return d
}

func run(t *testing.T, d folder, limits gpu.Limits) *Result {
	result, err := Run(context.Background(), open(t, limits), d, d.model(t), 0, func(line string) { t.Log(line) })
	require.NoError(t, err)
	for _, use := range result.Uses {
		require.LessOrEqual(t, use.Used(), 1.0, use.String())
	}
	return result
}

// TestCases runs every folder of the reference that has a case.json.
func TestCases(t *testing.T) {
	cases, err := filepath.Glob(filepath.Join(testfiles.Reference(t, "parity"), "*", "case.json"))
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	for _, path := range cases {
		d := folder(filepath.Dir(path))
		t.Run(filepath.Base(string(d)), func(t *testing.T) {
			c, err := Read(d)
			require.NoError(t, err)
			require.NoError(t, c.CheckQuantized(d.model(t)))
			run(t, d, gpu.Limits{})
		})
	}
}
