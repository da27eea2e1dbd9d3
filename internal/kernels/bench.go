package kernels

import (
	"context"
	"fmt"
	"time"

	"qlora-wgpu/gpu"
)

// The two ceilings that a benchmark holds kernels against.
type benchFMAParams struct {
	Loops  uint32
	Factor float32
}

type benchCopyParams struct{ Count uint32 }

var (
	benchFMA  = define("bench_fma", "w", benchFMAParams{})
	benchCopy = define("bench_copy", "iw", benchCopyParams{})
)

// Best repeats what record records until the time is over, at least three times, and returns the least that one took: what the device does when nothing disturbs it.
func Best(ctx context.Context, dev *gpu.Device, limit time.Duration, record func(rec *gpu.Recorder)) (best time.Duration, err error) {
	run := func(n int) (time.Duration, error) {
		start := time.Now()
		rec := dev.Record("bench")
		for range n {
			record(rec)
		}
		if err := rec.Submit(); err != nil {
			return 0, err
		}
		err := dev.Wait(ctx)
		return time.Since(start) / time.Duration(n), err
	}
	if _, err := run(1); err != nil { // compiles
		return 0, err
	}
	start, each := time.Now(), 1
	for i := 0; i < 3 || time.Since(start) < limit; i++ {
		took, err := run(each)
		if err != nil {
			return 0, err
		}
		if best == 0 || took < best {
			best = took
		}
		each = min(100, max(1, int(20*time.Millisecond/max(best, 1)))) // a submission's own cost should not show
	}
	return best, nil
}

// Ceilings are the most that a device was seen to do.
type Ceilings struct {
	GFLOPS     float64 `json:"gflops"`       // multiply-adds in registers, two flops each
	FMAVectors int     `json:"fma_vectors"`  // with so many vec4 accumulators
	CopyF32    float64 `json:"copy_f32_gbs"` // GB/s read and written
	CopyVec4   float64 `json:"copy_vec4_gbs"`
}

// MeasureCeilings measures them, within about the given time for each of seven cells.
func MeasureCeilings(ctx context.Context, dev *gpu.Device, limit time.Duration) (c Ceilings, err error) {
	const groups, count = 1024, 1 << 20 // vec4
	x, err := dev.NewTensor("bench", gpu.F32, count, 4)
	if err != nil {
		return c, err
	}
	defer x.Release()
	y, err := dev.NewTensor("bench", gpu.F32, count, 4)
	if err != nil {
		return c, err
	}
	defer y.Release()
	loops := 1 << 10
	if dev.Info.Type == "cpu" {
		loops = 1 << 5
	}
	for _, vectors := range []int{4, 8, 10, 12, 16} {
		flops := int64(groups) * 64 * int64(loops) * 8 * int64(vectors)
		took, err := Best(ctx, dev, limit, func(rec *gpu.Recorder) {
			rec.Dispatch(benchFMA.spec(map[string]uint32{"VECTORS": uint32(vectors)}), groups, flops, benchFMAParams{uint32(loops), 0.5}, y.Single())
		})
		if err != nil {
			return c, err
		}
		if g := float64(flops) / took.Seconds() / 1e9; g > c.GFLOPS {
			c.GFLOPS, c.FMAVectors = g, vectors
		}
	}
	for vector, out := range []*float64{&c.CopyF32, &c.CopyVec4} {
		n := count << (2 - 2*vector)
		took, err := Best(ctx, dev, limit, func(rec *gpu.Recorder) {
			rec.Dispatch(benchCopy.spec(map[string]uint32{"VECTOR": uint32(vector)}), ceilDiv(n, 64), int64(n), benchCopyParams{uint32(n)}, x.Single(), y.Single())
		})
		if err != nil {
			return c, err
		}
		*out = float64(count*4*8) / took.Seconds() / 1e9
	}
	return c, nil
}

// Cell is one operation at one shape: y [T, N] of x [T, K].
type Cell struct {
	Op      string
	T, N, K int
}

func (c Cell) String() string { return fmt.Sprintf("%s T%d N%d K%d", c.Op, c.T, c.N, c.K) }

// Measure is the least time of the cell with a variant, or with the recorded choice where that is empty. ok is false where the shape does not fit the device's bindings.
func (c Cell) Measure(ctx context.Context, dev *gpu.Device, variant string, limit time.Duration) (took time.Duration, ok bool, err error) {
	record, release, err := newMatmulBench(dev, c.Op, c.T, c.N, c.K)
	defer release()
	if err != nil || record == nil {
		return 0, false, err
	}
	dev.Variants.Force(c.Op, variant)
	defer dev.Variants.Force(c.Op, "")
	took, err = Best(ctx, dev, limit, record)
	return took, true, err
}
