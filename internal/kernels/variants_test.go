package kernels

import (
	"slices"
	"strings"
	"testing"
	"time"

	testify "github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
)

// A device is offered what it can run; a table or a checkpoint from one that can do more does not change that.
func TestVariantsOfADevice(t *testing.T) {
	dev := gpu.NewDry(gpu.Options{}) // without subgroups
	for _, op := range []string{"matmul_nf4_forward", "matmul_nf4_backward", "matmul_forward"} {
		all, runs := Variants(op), VariantsOn(dev, op)
		testify.Subset(t, all, runs)
		missing := 0
		for _, name := range all {
			if strings.HasPrefix(name, "subgroup_") {
				testify.NotContains(t, runs, name)
				missing++
			}
		}
		testify.Equal(t, len(all)-missing, len(runs), op)
		testify.Equal(t, strings.Contains(op, "nf4"), missing > 0, op)
	}
	rec := dev.DryRecord("test")
	dev.Variants.Set("matmul_nf4_forward", matmulClass(128, 64, 64), "subgroup_4x16x4")
	testify.Equal(t, "tiled_32x32", pickVariant(rec, "matmul_nf4_forward", matmulNF4ForwardVariants, 128, 64, 64, "tiled_32x32").name)
	dev.Variants.Set("matmul_nf4_forward", matmulClass(128, 64, 64), "registers_16x4")
	testify.Equal(t, "registers_16x4", pickVariant(rec, "matmul_nf4_forward", matmulNF4ForwardVariants, 128, 64, 64, "tiled_32x32").name)
}

// On a GPU only tiles are measured, elsewhere the largest of those that do without a workgroup's memory.
func TestCandidates(t *testing.T) {
	for _, op := range []string{"matmul_nf4_forward", "matmul_nf4_backward", "matmul_forward", "matmul_backward"} {
		of := func(dev *gpu.Device, tokens int, prefix string) (n int) {
			for _, name := range candidates(dev, op, tokens, 4096, 4096) {
				if strings.HasPrefix(name, prefix) {
					n++
				}
			}
			return n
		}
		discrete, cpu := gpu.NewDryDiscrete(), gpu.NewDry(gpu.Options{})
		testify.GreaterOrEqual(t, of(discrete, 128, "tiled_"), 3, op)
		testify.Equal(t, of(discrete, 128, "tiled_"), of(discrete, 128, ""), op)
		testify.Equal(t, []int{1, 1}, []int{of(cpu, 128, "uniform_"), of(cpu, 128, "registers_")}, op)
		testify.Equal(t, 2, of(cpu, 128, ""), op)
		testify.Positive(t, of(discrete, 4, "registers_"), op)
	}
}

// Sums are cut into parts where they are long and all parts of the output can be bound, and measured so on GPUs only.
func TestCandidatesInParts(t *testing.T) {
	inParts := func(dev *gpu.Device, op string, tokens, n, k int) []string {
		return slices.DeleteFunc(candidates(dev, op, tokens, n, k), func(name string) bool { return !inPartsOnly(name) })
	}
	discrete := gpu.NewDryDiscrete()
	testify.Equal(t, []string{"tiled_128x64_parts_3", "tiled_128x64_parts_8"}, inParts(discrete, "matmul_nf4_forward", 512, 4096, 14336))
	testify.Equal(t, []string{"tiled_128x64_parts_3"}, inParts(discrete, "matmul_nf4_forward", 2048, 4096, 14336))
	testify.Equal(t, []string{"tiled_128x64_parts_3"}, inParts(discrete, "matmul_nf4_backward", 2048, 14336, 4096))
	testify.Empty(t, inParts(discrete, "matmul_nf4_forward", 2048, 14336, 4096), "three parts of the output cannot be bound")
	testify.Empty(t, inParts(discrete, "matmul_nf4_backward", 128, 128, 4096), "128 rows are no three parts")
	testify.Empty(t, inParts(gpu.NewDry(gpu.Options{}), "matmul_nf4_forward", 512, 4096, 14336))
	testify.Empty(t, inParts(discrete, "matmul_forward", 512, 4096, 14336))
}

// Parts cover a sum, each but the last a whole number of steps.
func TestCut(t *testing.T) {
	dev := gpu.NewDryDiscrete()
	for _, c := range []struct{ parts, sum, want, each int }{{1, 4096, 1, 4096}, {3, 4096, 3, 1408}, {8, 576, 5, 128}, {8, 511, 1, 511}, {8, 512, 8, 64}, {3, 200, 2, 128}} {
		parts, each := variant{parts: c.parts}.cut(dev, c.sum, 1)
		testify.Equal(t, [2]int{c.want, c.each}, [2]int{parts, each}, c)
	}
	parts, _ := variant{parts: 3}.cut(dev, 4096, dev.Limits.MaxBindingBytes/3+1)
	testify.Equal(t, 1, parts)
}

// What is measured first, and what a shape takes that time did not suffice for.
func TestWantedShapes(t *testing.T) {
	shapes := wantedShapes([]string{
		"matmul_nf4_forward T512 N576 K576", "matmul_nf4_forward T512 N576 K16", "matmul_nf4_forward T1 N576 K576", "matmul_nf4_forward T512 N1536 K576",
		"attention_forward T512 H9 KVH3 D64", "matmul_gradient T512 N576 K576", "matmul_forward T128 N49152 K576", "matmul_nf4_backward T512 N1536 K576", "matmul_nf4_backward T512 N576 K576",
	})
	var keys []string
	for i := range shapes {
		keys = append(keys, shapes[i].key())
	}
	testify.Equal(t, []string{
		"matmul_nf4_forward T512 N576 K576", "matmul_nf4_backward T512 N1536 K576", "matmul_forward T128 N49152 K576", "matmul_nf4_forward T512 N1536 K576", "matmul_nf4_backward T512 N576 K576",
	}, keys)
	shapes[0].best, shapes[1].best, shapes[3].best = "small", "another operation's", "large"
	for class, want := range map[string]string{"T512 N192 K576": "small", "T512 N2048 K576": "large", "T128 N1536 K1536": "large", "T128 N576 K192": "small"} {
		like := wantedShapes([]string{"matmul_nf4_forward " + class})[0]
		testify.Equal(t, want, like.alike(shapes), class)
	}
	testify.Empty(t, shapes[2].alike(shapes), "none of its operation was measured")
}

// A first run, in which drivers compile, says nothing about a candidate.
func TestMeasureAfterTheWarmUp(t *testing.T) {
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	testify.NoError(t, err)
	defer dev.Release()
	bench, release, err := newMatmulBench(dev, "matmul_nf4_forward", 16, 64, 64)
	testify.NoError(t, err)
	defer release()
	runs := 0
	_, err = Tuning{}.measure(t.Context(), dev, func(rec *gpu.Recorder) {
		runs++
		if runs == 1 {
			time.Sleep(100 * time.Millisecond)
		}
		bench(rec)
	}, 1e-9)
	testify.NoError(t, err)
	testify.Equal(t, 2, runs, "the second is measured, and slow enough that there is no third")
}

// Part of a product stands for it, never more than there is.
func TestSample(t *testing.T) {
	cpu, discrete := gpu.NewDry(gpu.Options{}), gpu.NewDryDiscrete()
	for _, c := range []struct{ t, n, k, cpuT, cpuN, gpuN int }{{512, 192, 576, 128, 192, 192}, {512, 1536, 576, 128, 1536, 1536}, {2048, 4096, 14336, 128, 256, 64}, {32, 49152, 576, 32, 7168, 49152}} {
		tokens, rows := sample(cpu, c.t, c.n, c.k)
		testify.Equal(t, [2]int{c.cpuT, c.cpuN}, [2]int{tokens, rows}, c)
		tokens, rows = sample(discrete, c.t, c.n, c.k)
		testify.Equal(t, [2]int{c.t, c.gpuN}, [2]int{tokens, rows}, c)
	}
}

// A shape that time does not suffice for takes a choice of its operation, if that was not found to kill.
func TestTuneOutOfTime(t *testing.T) {
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	testify.NoError(t, err)
	defer dev.Release()
	const op = "matmul_nf4_forward"
	for _, class := range []string{"T128 N64 K64", "T128 N128 K64", "T128 N192 K64"} {
		dev.Variants.Choose(op, class, "")
	}
	var lines []string
	deadline := time.Now().Add(time.Second)
	testify.NoError(t, Tune(t.Context(), dev, Tuning{Deadline: deadline, Rejected: []string{op + " T128 N192 K64 registers_32x4", op + " T128 N64 K64 uniform_32x2"}, Report: func(line string) {
		lines = append(lines, line)
		time.Sleep(time.Until(deadline) + time.Millisecond)
	}}))
	testify.Len(t, lines, 2)
	testify.Contains(t, lines[1], "2 shapes")
	testify.Equal(t, []string{"registers_32x4", "registers_32x4", ""}, []string{
		dev.Variants.Choose(op, "T128 N64 K64", ""), dev.Variants.Choose(op, "T128 N128 K64", ""), dev.Variants.Choose(op, "T128 N192 K64", ""),
	})
}

// Every product keeps variants to measure at many tokens.
func TestForFewTokens(t *testing.T) {
	testify.Equal(t, []string{"registers_4x2", "vector_1", "vector_4", "vector_uniform"}, slices.DeleteFunc(Variants("matmul_nf4_forward"), func(name string) bool { return !forFewTokens(name) }))
}

// The variants for few tokens are chosen by rule: for a device with and without a GPU, and for as many tokens as they serve.
func TestVectorFallback(t *testing.T) {
	cpu, discrete := gpu.NewDry(gpu.Options{}).DryRecord("test"), gpu.NewDryDiscrete().DryRecord("test")
	for tokens, want := range map[int][2]string{1: {"vector_uniform", "vector_1"}, 2: {"", "vector_4"}, 8: {"", "vector_4"}, 9: {"", ""}} {
		testify.Equal(t, want, [2]string{vectorFallback(cpu, tokens), vectorFallback(discrete, tokens)}, tokens)
	}
}

// What was being tried is not taken back when the device does not answer, and the device is left alone.
func TestTuneAbandonsADeviceThatHangs(t *testing.T) {
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	testify.NoError(t, err)
	defer dev.Release()
	defer func(before time.Duration) { hangs = before }(hangs)
	hangs = time.Nanosecond
	var tried []string
	dev.Variants.Choose("matmul_nf4_forward", "T128 N64 K64", "")
	err = Tune(t.Context(), dev, Tuning{Deadline: time.Now().Add(time.Minute), Report: func(string) {}, Trying: func(c string) { tried = append(tried, c) }})
	testify.ErrorContains(t, err, "matmul_nf4_forward T128 N64 K64 registers_32x4: no answer from the device within 1ns")
	testify.Equal(t, []string{"matmul_nf4_forward T128 N64 K64 compiled together", "", "matmul_nf4_forward T128 N64 K64 registers_32x4"}, tried)
	testify.ErrorContains(t, dev.Lost(), "no answer")
}
