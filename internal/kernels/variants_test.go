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
	for _, table := range tables {
		op := table.title()
		var all, want []string
		for _, v := range Variants(op) {
			all = append(all, v.Name)
			if v.Needs == "" {
				want = append(want, v.Name)
			}
		}
		testify.Equal(t, want, VariantsOn(dev, op), op)
		testify.Equal(t, strings.Contains(op, "nf4"), len(want) < len(all), op)
	}
	operands := matmulNF4Forward.operands(&maker{dev: dev}, Cell{Op: BenchNF4Forward, T: 128, N: 64, K: 64})
	for recorded, want := range map[string]string{
		"subgroup_4x16x4": "uniform_32x2", "gone": "uniform_32x2", "registers_16x4": "registers_16x4",
	} {
		dev.Variants.Set(BenchNF4Forward, operands.class(), recorded)
		testify.Equal(t, want, matmulNF4Forward.choose(dev, operands).Name, recorded)
	}
}

// tuned calls f for every operation that is measured, with its candidates for a shape.
func tuned(f func(op string, candidates func(dev *gpu.Device, t, n, k int) []string)) {
	for _, table := range tables {
		if table.measured() {
			f(table.title(), func(dev *gpu.Device, t, n, k int) []string {
				return table.candidates(dev, Cell{Op: table.title(), T: t, N: n, K: k})
			})
		}
	}
}

// On a GPU only tiles are measured, elsewhere the largest of those that do without a workgroup's memory.
func TestCandidates(t *testing.T) {
	operations := 0
	tuned(func(op string, candidates func(dev *gpu.Device, t, n, k int) []string) {
		operations++
		of := func(dev *gpu.Device, tokens int, prefix string) (n int) {
			for _, name := range candidates(dev, tokens, 4096, 4096) {
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
	})
	testify.Equal(t, 4, operations)
}

// What is measured of the tiles of a CPU device is the largest of its kind.
func TestMeasuredTilesAreTheLargest(t *testing.T) {
	cpu := gpu.NewDry(gpu.Options{})
	tuned(func(op string, candidates func(dev *gpu.Device, t, n, k int) []string) {
		measured := candidates(cpu, 128, 4096, 4096)
		for _, kind := range []string{"registers_", "uniform_"} {
			largest := &Variant{}
			for _, v := range Variants(op) {
				if strings.HasPrefix(v.Name, kind) && v.tokens*v.outputs > largest.tokens*largest.outputs {
					largest = v
				}
			}
			testify.Contains(t, measured, largest.Name, op)
		}
	})
}

// Sums are cut into parts where they are long and all parts of the output can be bound, and measured so on GPUs only.
func TestCandidatesInParts(t *testing.T) {
	inParts := func(dev *gpu.Device, op string, tokens, n, k int) (names []string) {
		of := find(op)
		candidates := of.candidates(dev, Cell{Op: op, T: tokens, N: n, K: k})
		for _, v := range of.list() {
			if v.parts > 1 && slices.Contains(candidates, v.Name) {
				names = append(names, v.Name)
			}
		}
		return names
	}
	const forward, backward = BenchNF4Forward, BenchNF4Backward
	discrete := gpu.NewDryDiscrete()
	testify.Equal(t, []string{"tiled_128x64_parts_3", "tiled_128x64_parts_8"}, inParts(discrete, forward, 512, 4096, 14336))
	testify.Equal(t, []string{"tiled_128x64_parts_3"}, inParts(discrete, forward, 2048, 4096, 14336))
	testify.Equal(t, []string{"tiled_128x64_parts_3"}, inParts(discrete, backward, 2048, 14336, 4096))
	testify.Empty(t, inParts(discrete, forward, 2048, 14336, 4096), "three parts of the output cannot be bound")
	testify.Empty(t, inParts(discrete, backward, 128, 128, 4096), "128 rows are no three parts")
	testify.Empty(t, inParts(gpu.NewDry(gpu.Options{}), forward, 512, 4096, 14336))
	testify.Empty(t, inParts(discrete, BenchForward, 512, 4096, 14336))
}

// Parts cover a sum, each but the last a whole number of steps.
func TestCut(t *testing.T) {
	dev := gpu.NewDryDiscrete()
	for _, c := range []struct{ parts, sum, want, each int }{
		{1, 4096, 1, 4096}, {3, 4096, 3, 1408}, {8, 576, 5, 128}, {8, 511, 1, 511}, {8, 512, 8, 64}, {3, 200, 2, 128},
	} {
		parts, each := (&Variant{parts: c.parts}).cut(dev, c.sum, 1)
		testify.Equal(t, [2]int{c.want, c.each}, [2]int{parts, each}, c)
	}
	parts, _ := (&Variant{parts: 3}).cut(dev, 4096, dev.Limits.MaxBindingBytes/3+1)
	testify.Equal(t, 1, parts)
}

// What is measured first, and what a shape takes that time did not suffice for.
func TestWantedShapes(t *testing.T) {
	shapes := wantedShapes([]string{
		"matmul_nf4_forward T512 N576 K576", "matmul_nf4_forward T512 N576 K16", "matmul_nf4_forward T1 N576 K576",
		"matmul_nf4_forward T512 N1536 K576", "attention_forward T512 H9 KVH3 D64", "matmul_gradient T512 N576 K576",
		"matmul_forward T128 N49152 K576", "matmul_nf4_backward T512 N1536 K576", "matmul_nf4_backward T512 N576 K576",
	})
	var keys []string
	for i := range shapes {
		keys = append(keys, shapes[i].key())
	}
	testify.Equal(t, []string{
		"matmul_nf4_forward T512 N576 K576", "matmul_nf4_backward T512 N1536 K576", "matmul_forward T128 N49152 K576",
		"matmul_nf4_forward T512 N1536 K576", "matmul_nf4_backward T512 N576 K576",
	}, keys)
	shapes[0].best, shapes[1].best, shapes[3].best = "small", "another operation's", "large"
	for class, want := range map[string]string{
		"T512 N192 K576": "small", "T512 N2048 K576": "large", "T128 N1536 K1536": "large", "T128 N576 K192": "small",
	} {
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
	bench, release, err := matmulNF4Forward.record(dev, Cell{Op: BenchNF4Forward, T: 16, N: 64, K: 64})
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
	for _, c := range []struct{ t, n, k, cpuT, cpuN, gpuN int }{
		{512, 192, 576, 128, 192, 192}, {512, 1536, 576, 128, 1536, 1536}, {2048, 4096, 14336, 128, 256, 64}, {32, 49152, 576, 32, 7168, 49152},
	} {
		whole := Cell{Op: BenchNF4Forward, T: c.t, N: c.n, K: c.k}
		testify.Equal(t, Cell{Op: BenchNF4Forward, T: c.cpuT, N: c.cpuN, K: c.k}, whole.sample(cpu), c)
		testify.Equal(t, Cell{Op: BenchNF4Forward, T: c.t, N: c.gpuN, K: c.k}, whole.sample(discrete), c)
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
	var measured [][2]int
	deadline := time.Now().Add(time.Second)
	testify.NoError(t, Tune(t.Context(), dev, Tuning{
		Deadline: deadline, Rejected: []string{op + " T128 N192 K64 registers_32x4", op + " T128 N64 K64 uniform_32x2"},
		Report: func(line string) {
			lines = append(lines, line)
			time.Sleep(time.Until(deadline) + time.Millisecond)
		},
		Measured: func(done, total int) { measured = append(measured, [2]int{done, total}) },
	}))
	testify.Len(t, lines, 2)
	all := measured[0][1]
	testify.Greater(t, all, len(measured))
	for i, m := range measured[:len(measured)-1] {
		testify.Equal(t, [2]int{i + 1, all}, m)
	}
	testify.Equal(t, [2]int{all, all}, measured[len(measured)-1], "what there was no time for counts at the end")
	testify.Contains(t, lines[1], "2 shapes")
	testify.Equal(t, []string{"registers_32x4", "registers_32x4", ""}, []string{
		dev.Variants.Choose(op, "T128 N64 K64", ""), dev.Variants.Choose(op, "T128 N128 K64", ""), dev.Variants.Choose(op, "T128 N192 K64", ""),
	})
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
	err = Tune(t.Context(), dev, Tuning{
		Deadline: time.Now().Add(time.Minute), Report: func(string) {}, Trying: func(c string) { tried = append(tried, c) },
	})
	const shape = "matmul_nf4_forward T128 N64 K64"
	testify.ErrorContains(t, err, shape+" registers_32x4: no answer from the device within 1ns")
	testify.Equal(t, []string{shape + " compiled together", "", shape + " registers_32x4"}, tried)
	testify.ErrorContains(t, dev.Lost(), "no answer")
}
