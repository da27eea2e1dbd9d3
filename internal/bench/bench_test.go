//go:build !js

package bench

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
)

// The formula counts every product that is computed, and attention: of 4 heads of 32 in one layer.
func TestStepFlops(t *testing.T) {
	source, err := pretrained.Open(demotest.Model(t, 1, nil))
	require.NoError(t, err)
	defer source.Close()
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	require.NoError(t, err)
	defer dev.Release()
	c := settings.Default[settings.Train]()
	c.Autotune, c.LoraR = "off", 4
	c.MaxSeqLength, c.BatchSize, c.GradientAccumulationSteps, c.MaxSteps = 64, 1, 1, 2
	for _, c.GradientCheckpointing = range []string{settings.CheckpointOff, settings.CheckpointSelective, settings.CheckpointFull} {
		r, err := Synthetic{
			Model: source, Answer: 32, Settings: c, Steps: 2, Cache: host.MeasurementsIn(""), CPU: host.CPUSeconds, Profile: true,
		}.Run(t.Context(), dev, func(events.Event) {})
		require.NoError(t, err)
		require.Len(t, r.CPU, 2, "without the profiled step's")
		dispatches, flops := map[string]int{}, int64(4*32*(64*65/2)*(4+10))
		if c.GradientCheckpointing == settings.CheckpointFull {
			flops += 4 * 32 * (64 * 65 / 2) * 4
		}
		for i, k := range r.Profile.Kernels {
			require.Positive(t, k.Time, k.Kernel)
			if i > 0 {
				require.LessOrEqual(t, k.Time, r.Profile.Kernels[i-1].Time)
			}
			dispatches[k.Kernel] = k.Dispatches
			if strings.HasPrefix(k.Kernel, "matmul_") {
				flops += k.Cost
			}
		}
		require.Equal(t, 1, dispatches["adamw_step"])
		require.Equal(t, 1, dispatches["attention_backward_delta"])
		require.Equal(t, flops, r.Flops)
	}
}

// Of a shape, a few layers are measured and all are told, as an extrapolation.
func TestSteps(t *testing.T) {
	o := settings.Default[settings.BenchTrain]()
	o.Arch, o.Layers, o.Tokens, o.Steps, o.LoraR, o.Autotune, o.Seconds = "smollm2-135m", 2, 4, 2, 4, "off", time.Millisecond
	r, err := Steps(t.Context(), o, func(events.Event) {})
	require.NoError(t, err)
	require.Equal(t, 2, r.Layers)
	require.Positive(t, r.SecondsPerStep)
	require.LessOrEqual(t, r.Least.Seconds, r.SecondsPerStep)
	require.InEpsilon(t, 4/r.SecondsPerStep, r.TokensPerSecond, 1e-9)
	require.InEpsilon(t, r.Least.best()/r.GEMM.best(), r.Share.Value, 1e-9)
	require.InDelta(t, math.Log(49152), r.Loss, 3, "random weights know nothing")
	e := r.Extrapolated
	require.NotNil(t, e)
	require.Equal(t, 30, e.Layers)
	head := int64(4 * 4 * 49152 * 576)
	require.InEpsilon(t, 15, float64(e.Flops-head)/float64(r.Flops-head), 0.05, "but for the first layer")
	require.InEpsilon(t, r.SecondsPerStep*float64(e.Flops)/float64(r.Flops), e.SecondsPerStep, 1e-9)
	require.Greater(t, e.PlannedBytes, r.PeakDeviceBytes)

	o.Tokens = 1
	_, err = Steps(t.Context(), o, nil)
	require.ErrorContains(t, err, "tokens is 1, allowed: between 2 and the model's 8192")
	o.Tokens, o.Steps = 4, 0
	_, err = Steps(t.Context(), o, nil)
	require.ErrorContains(t, err, "steps is 0, allowed: 1 to 100000")
}

func TestKernels(t *testing.T) {
	var cells []KernelCell
	o := settings.Default[settings.BenchKernels]()
	o.Filter, o.Seconds = "SmolLM2-135M (matmul_.*_(for|back)ward T128 N192|attention.* T128)", time.Millisecond
	r, err := Kernels(t.Context(), o,
		func(events.Event) {}, func(_ KernelBench, c KernelCell) { cells = append(cells, c) })
	require.NoError(t, err)
	require.Positive(t, r.Ceilings.GFLOPS)
	require.Positive(t, r.Ceilings.CopyVec4)
	require.Equal(t, r.Cells, cells)
	flops := map[string]int64{}
	for _, c := range cells {
		require.Empty(t, c.Skipped)
		flops[c.Op] = c.Flops
		require.InEpsilon(t, float64(c.Flops)/c.Seconds/1e9, c.GFLOPS, 1e-9)
		require.InEpsilon(t, c.best()/r.Ceilings.best(), c.Share, 1e-9)
		require.Equal(t, c.Heads == 0, c.Variant != "", "of attention a rule chooses")
	}
	const product, pairs = 2 * 128 * 192 * 576, 9 * 128 * 129 / 2
	require.Equal(t, map[string]int64{
		"matmul_f32_forward": product, "matmul_nf4_forward": product,
		"matmul_nf4_backward": product, "attention_forward": 4 * 64 * pairs, "attention_backward": 10 * 64 * pairs,
	}, flops)
	for _, ratio := range r.Ratios[1:] {
		if strings.HasSuffix(ratio.Name, ": NF4 GEMM at 512 tokens") {
			require.Zero(t, ratio.Value)
			require.Regexp(t,
				"^Llama-3.2-1B matmul_nf4_(for|back)ward T512 N[0-9]+ K[0-9]+ was not measured$|SmolLM2-135M attention_(for|back)ward T(512|2048)",
				ratio.Missing)
		}
	}
	o.Filter = "("
	_, err = Kernels(t.Context(), o, nil, nil)
	require.ErrorContains(t, err, "filter is (, allowed: a regular expression")
}

// A device whose largest binding no cell fits.
func TestCellsThatDoNotFit(t *testing.T) {
	dev, err := gpu.Open(t.Context(), gpu.Options{Limits: gpu.Limits{MaxBindingBytes: 1 << 20}})
	require.NoError(t, err)
	defer dev.Release()
	meter := kernels.Meter{Device: dev, CPU: host.CPUSeconds, Limit: time.Millisecond}
	for _, c := range []kernels.Cell{
		{Op: kernels.BenchNF4Forward, T: 128, N: 2048, K: 2048}, {Op: kernels.BenchF32Forward, T: 512, N: 64, K: 1024}, {
			Op: kernels.BenchAttentionBackward, T: 512, Heads: 9, KVHeads: 3, HeadDim: 64,
		},
	} {
		_, _, err = meter.Measure(t.Context(), c, "")
		require.ErrorAs(t, err, new(kernels.TooBig), "%s", c)
		require.ErrorContains(t, err, "bytes are wanted in one piece, the device has 1048576")
	}
	_, _, err = meter.Measure(t.Context(), kernels.Cell{Op: kernels.BenchF32Forward, T: 16, N: 64, K: 64}, "largest")
	require.ErrorContains(t, err, "there is no variant largest, but registers_1x1, ")
	dev.LimitMemory(1 << 20)
	_, _, err = meter.Measure(t.Context(), kernels.Cell{Op: kernels.BenchF32Forward, T: 16, N: 1024, K: 1024}, "")
	require.ErrorAs(t, err, new(*gpu.OutOfMemory))
}

func TestRatios(t *testing.T) {
	b := &KernelBench{Ceilings: KernelCeilings{Speed: Speed{GFLOPS: 1, CPUGFLOPS: 100}}}
	add := func(model, op string, tokens, n, k, heads int, gflops float64) {
		b.Cells = append(b.Cells, KernelCell{
			Model: model, Op: op, T: tokens, N: n, K: k, Heads: heads, Speed: Speed{GFLOPS: 1e6, CPUGFLOPS: gflops},
		})
	}
	for op, gflops := range map[string]float64{"matmul_f32_forward": 40, "matmul_nf4_forward": 30, "matmul_nf4_backward": 15} {
		for shape := range benchModels[1].linears() {
			add("Llama-3.2-1B", op, 512, shape[0], shape[1], 0, gflops)
		}
	}
	add(oddSizes, "matmul_nf4_forward", oddTokens, oddRows, 2048, 0, 24)
	add("SmolLM2-135M", "attention_backward", 2048, 0, 0, 9, 6)
	for _, c := range []struct {
		namedCell
		gflops float64
	}{{slidingGemma, 7}, {slidingGemma.full(), 8}} {
		c.Op = "attention_forward"
		b.Cells = append(b.Cells, KernelCell{Model: c.model, Op: c.Op, Shape: c.Shape(), Speed: Speed{GFLOPS: 1e6, CPUGFLOPS: c.gflops}})
	}
	ratios := map[string]Ratio{}
	for _, r := range b.ratios() {
		ratios[r.Name] = r
	}
	value := func(name string, want float64) {
		require.Empty(t, ratios[name].Missing)
		require.InDelta(t, want, ratios[name].Value, 1e-9, name)
	}
	value("float32 GEMM at 512 tokens : multiply-add ceiling", 0.4)
	value("NF4 GEMM at 512 tokens : float32 GEMM", 0.75)
	value("its dX : NF4 GEMM at 512 tokens", 0.5)
	value("NF4 GEMM, 37 tokens × 2036 rows : at 512 tokens", 0.8)
	value("attention_backward, 2048 tokens, 9 heads of 64 : NF4 GEMM at 512 tokens", 0.2)
	require.Equal(t, 0.3, ratios["attention_backward, 2048 tokens, 9 heads of 64 : NF4 GEMM at 512 tokens"].Goal)
	value("attention_forward, 4096 tokens, 8 heads of 256, window 1024 : without", 0.875)
	require.Contains(t, ratios["attention_backward, 4096 tokens, 8 heads of 256, window 1024 : without"].Missing, "D256 W1024")
	require.Contains(t, ratios["NF4 GEMM at 128 tokens : at 512"].Missing, "T128")

	// Of a layer's linears each weighs as long as it takes: a slow small one little.
	for i := range b.Cells {
		if c := &b.Cells[i]; c.Op == "matmul_nf4_forward" && c.N == 512 {
			c.CPUGFLOPS = 15
		}
	}
	all := 2*2048 + 2*512 + 3*8192.0
	want := all / ((all-1024)/30 + 1024/15.0) / 40
	for _, r := range b.ratios() {
		if r.Name == "NF4 GEMM at 512 tokens : float32 GEMM" {
			require.InEpsilon(t, want, r.Value, 1e-9)
		}
	}
}

func TestLoad(t *testing.T) {
	o := settings.Default[settings.BenchLoad]()
	o.Model, o.Runs = demotest.Model(t, 1, nil), 2
	r, err := Load(t.Context(), o, func(events.Event) {})
	require.NoError(t, err)
	source, err := pretrained.Open(o.Model)
	require.NoError(t, err)
	defer source.Close()
	embedding, _ := source.Lookup("model.embed_tokens.weight")
	require.Greater(t, r.Elements, int64(embedding.Rows*embedding.Cols))
	for _, took := range []Took{r.Read, r.Cached, r.Quantize, r.Load} {
		require.Positive(t, took.Seconds)
	}
	require.InEpsilon(t, r.Quantize.Seconds/r.Read.Seconds, r.Ratio, 1e-9)
	o.Runs = 0
	_, err = Load(t.Context(), o, func(events.Event) {})
	require.ErrorContains(t, err, "runs is 0, allowed: 1 to 1000")
}

func TestLeast(t *testing.T) {
	var took Took
	took.least(3, 4)
	took.least(5, 2)
	require.Equal(t, Took{3, 2}, took)
}
