package parity

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/testfiles"
	"qlora-wgpu/paging"
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

// cases are the folders below dir that have a case.json.
func cases(t *testing.T, dir string) (folders []folder) {
	found, err := filepath.Glob(filepath.Join(dir, "*", "case.json"))
	require.NoError(t, err)
	require.NotEmpty(t, found)
	for _, path := range found {
		folders = append(folders, folder(filepath.Dir(path)))
	}
	return folders
}

// tiny is the case that the repository holds.
const tiny = folder("testdata/tiny")

func open(t *testing.T, limits gpu.Limits) *gpu.Device {
	d, err := gpu.Open(context.Background(), gpu.Options{Adapter: os.Getenv("QLORA_DEVICE"), Limits: limits})
	require.NoError(t, err)
	t.Cleanup(d.Release)
	return d
}

func run(t *testing.T, dev *gpu.Device, d folder, o Options) *Result {
	o.Log = func(line string) { t.Log(line) }
	result, err := Run(context.Background(), dev, d, d.model(t), o)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(result.Uses), 4)
	for _, use := range result.Uses {
		require.LessOrEqual(t, use.Used(), 1.0, use.String())
	}
	return result
}

// TestCases runs the cases of testdata and of the reference, with the variants that measuring chooses; of the 135M
// model, whose steps take minutes, half of the steps unless there is time.
func TestCases(t *testing.T) {
	check := func(t *testing.T, d folder, o Options) {
		c, err := Read(d)
		require.NoError(t, err)
		require.NoError(t, c.CheckFrozen(d.model(t)))
		run(t, open(t, gpu.Limits{}), d, o)
	}
	measured := Options{Tune: 20 * time.Second}
	most := measured
	if os.Getenv("QLORA_TEST_LONG") == "" {
		most.MaxSteps = 5
	}
	here := map[string]folder{}
	for _, d := range cases(t, "testdata") {
		name := filepath.Base(string(d))
		here[name] = d
		t.Run(name, func(t *testing.T) { check(t, d, measured) })
	}
	t.Run("families", func(t *testing.T) { // by the rules alone: measuring takes its time
		for _, d := range cases(t, testfiles.Reference(t, "families")) {
			if name := filepath.Base(string(d)); here[name] == "" {
				t.Run(name, func(t *testing.T) { check(t, d, Options{}) })
			}
		}
	})
	t.Run("reference", func(t *testing.T) {
		for _, d := range cases(t, testfiles.Reference(t, "parity")) {
			name := filepath.Base(string(d))
			t.Run(name, func(t *testing.T) {
				if copied, ok := here[name]; ok {
					require.Equal(t, read(t, d), read(t, copied), "the copy in testdata is of another case")
					return
				}
				check(t, d, most)
			})
		}
	})
}

func read(t *testing.T, d folder) string {
	data, err := os.ReadFile(filepath.Join(string(d), "case.json"))
	require.NoError(t, err)
	return string(data)
}

// stress makes everything as small as it can be: weights in many shards, dispatches cut into a few workgroups and
// folded over three dimensions, each in a submission of its own.
var stress = gpu.Limits{MaxBindingBytes: 80 << 10, MaxWorkgroupsPerDimension: 7, MaxDispatchesPerSubmit: 1, MaxDispatchCost: 100_000}

// stress are those limits, with room for what 41 tokens, the most of any case, make of its widest matrix.
func (d folder) stress(t *testing.T) gpu.Limits {
	limits := stress
	for _, tensor := range d.model(t).Spec.Tensors() {
		if tensor.Role == spec.Matrix {
			limits.MaxBindingBytes = max(limits.MaxBindingBytes, gpu.F32.Size(41*tensor.Rows))
		}
	}
	return limits
}

// eachCase runs a test on the cases that the repository holds, and on those of further families.
func eachCase(t *testing.T, test func(t *testing.T, d folder)) {
	here := map[string]bool{}
	for _, d := range cases(t, "testdata") {
		here[filepath.Base(string(d))] = true
		t.Run(filepath.Base(string(d)), func(t *testing.T) { test(t, d) })
	}
	t.Run("families", func(t *testing.T) {
		for _, d := range cases(t, testfiles.Reference(t, "families")) {
			if name := filepath.Base(string(d)); !here[name] {
				t.Run(name, func(t *testing.T) { test(t, d) })
			}
		}
	})
}

// steps is how many of a case are enough where all are taken elsewhere: 0, all, of those that the repository holds.
func steps(d folder) int {
	if filepath.Dir(string(d)) == "testdata" {
		return 0
	}
	return 2
}

// TestStress runs every case with weights in many shards and dispatches in pieces, and asks for the same bytes.
func TestStress(t *testing.T) {
	eachCase(t, func(t *testing.T, d folder) {
		round, o := rounds(t)[0], Options{MaxSteps: 2}
		require.Equal(t, runRound(t, round, gpu.Limits{}, d, o), runRound(t, round, d.stress(t), d, o))
	})
}

// TestAnUnquantizedBaseUnderStress runs the cases whose base is not quantized with a variant of each kind, under usual
// limits and under stress, where their layers lie in many parts, and asks for the same losses and the same adapter.
func TestAnUnquantizedBaseUnderStress(t *testing.T) {
	ran := 0
	for _, d := range cases(t, "testdata") {
		c, err := Read(d)
		require.NoError(t, err)
		if c.Quantization != "none" {
			continue
		}
		for _, variant := range []string{"uniform_32x2", "registers_16x4", "tiled_32x32"} {
			round := map[string]string{"matmul_forward": variant, "matmul_backward": variant}
			o := Options{MaxSteps: 5}
			require.Equal(t, runRound(t, round, gpu.Limits{}, d, o), runRound(t, round, stress, d, o), variant)
			ran++
		}
	}
	require.Positive(t, ran)
}

// TestChunks cuts micro-batches into chunks of 16 tokens, of which short ones leave the last empty, and asks for
// PyTorch's results all the same, whatever is computed again.
func TestChunks(t *testing.T) {
	dev := open(t, gpu.Limits{})
	eachCase(t, func(t *testing.T, d folder) {
		want := run(t, dev, d, Options{Chunk: 16, MaxSteps: steps(d)})
		for _, activations := range []paging.Activations{paging.Selective, paging.Keep} {
			o := Options{Chunk: 16, MaxSteps: steps(d), Plan: d.residentPlan(t, paging.Decisions{Activations: activations})}
			require.Equal(t, want, run(t, dev, d, o), activations)
		}
	})
}

// TestRoundedActivations keeps activations in bf16: the forward pass is that of float32, gradients are near PyTorch's,
// and a second run gives the same bytes.
func TestRoundedActivations(t *testing.T) {
	dev := open(t, gpu.Limits{})
	eachCase(t, func(t *testing.T, d folder) {
		exact := run(t, dev, d, Options{Chunk: 16, MaxSteps: 1}) // in chunks attention may choose another variant
		adapters := map[string]bool{exact.Adapter: true}
		for _, activations := range []paging.Activations{paging.Recompute, paging.Selective, paging.Keep} {
			o := Options{Chunk: 16, MaxSteps: steps(d), Plan: d.residentPlan(t, paging.Decisions{Activations: activations, Kept: gpu.BF16})}
			got := run(t, dev, d, o)
			require.Equal(t, exact.Losses[0], got.Losses[0], "step 1")
			require.Greater(t, got.Uses[1].Error, 1e3*exact.Uses[1].Error, "nothing was rounded")
			require.False(t, adapters[got.Adapter], "what is kept is what is rounded")
			adapters[got.Adapter] = true
			if activations == paging.Selective {
				require.Equal(t, got, run(t, dev, d, o), "a second run")
			}
		}
	})
}

// TestConfigurationsOfBothStyles reads a case's hub_config.json, as transformers 4 writes it, beside the config.json of
// transformers 5: they describe the same model.
func TestConfigurationsOfBothStyles(t *testing.T) {
	eachCase(t, func(t *testing.T, d folder) {
		older, err := os.ReadFile(filepath.Join(string(d), "hub_config.json"))
		if err != nil {
			t.Skip("the case has one style alone")
		}
		copied := t.TempDir()
		require.NoError(t, os.CopyFS(copied, os.DirFS(filepath.Join(string(d), "model"))))
		require.NoError(t, os.WriteFile(filepath.Join(copied, "config.json"), older, 0o666))
		again, err := pretrained.Open(copied)
		require.NoError(t, err)
		defer again.Close()
		m := d.model(t)
		require.Equal(t, m.Spec, again.Spec)
		require.Equal(t, m.Tokens, again.Tokens)
	})
}

// residentPlan leaves the model's weights on the device.
func (d folder) residentPlan(t *testing.T, decisions paging.Decisions) *paging.Plan {
	return &paging.Plan{Decisions: decisions, StreamedLayers: make([]bool, len(d.model(t).Spec.Layers))}
}
