package kernels

import (
	"context"
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

// Took is the least that something took in many runs, each figure for itself: what the device does when nothing
// disturbs it.
type Took struct {
	Seconds    float64
	CPUSeconds float64 // of this process, which includes the arithmetic on a CPU device
}

func (t Took) least(other Took) Took {
	return Took{min(t.Seconds, other.Seconds), min(t.CPUSeconds, other.CPUSeconds)}
}

// less compares: on a CPU device by CPU time, which other work on the machine disturbs less.
func (t Took) less(dev *gpu.Device, other Took) bool {
	if kindOf(dev)&cpus != 0 && t.CPUSeconds > 0 {
		return t.CPUSeconds < other.CPUSeconds
	}
	return t.Seconds < other.Seconds
}

// Meter measures on a device. CPU is what this process used of the CPU so far, in seconds.
type Meter struct {
	Device *gpu.Device
	CPU    func() float64
	Limit  time.Duration // for each figure, about
}

// Best repeats what record records until the time is over: at least three times, if that does not take three times as
// long, and at least once.
func (m Meter) Best(ctx context.Context, record func(rec *gpu.Recorder)) (best Took, err error) {
	run := func(n int) (Took, error) {
		start, used := time.Now(), m.CPU()
		rec := m.Device.Record("bench")
		for range n {
			record(rec)
		}
		if err := rec.Submit(); err != nil {
			return Took{}, err
		}
		err := m.Device.Wait(ctx)
		return Took{time.Since(start).Seconds() / float64(n), (m.CPU() - used) / float64(n)}, err
	}
	if _, err := run(1); err != nil { // compiles
		return Took{}, err
	}
	start, each := time.Now(), 1
	for i := 0; i == 0 || i < 3 && time.Since(start) < 3*m.Limit || time.Since(start) < m.Limit; i++ {
		took, err := run(each)
		if err != nil {
			return Took{}, err
		}
		if i == 0 {
			best = took
		}
		best = best.least(took)
		each = min(100, max(1, int(0.02/max(best.Seconds, 1e-6)))) // a submission's own cost should not show
	}
	return best, nil
}

// Ceilings are the most that a device was seen to do.
type Ceilings struct {
	FMA         Took // of FMAFlops
	FMAFlops    int64
	FMAVectors  int  // with so many vec4 accumulators
	CopyF32     Took // of CopyBytes, read and written
	CopyVec4    Took
	CopyBytes   int64
	FMACPUFlops float64 // flops a second and CPU, with whichever number of accumulators was best by that; of a CPU device
}

// Ceilings measures them, in nine figures.
func (m Meter) Ceilings(ctx context.Context) (c Ceilings, err error) {
	const groups, count = 1024, 1 << 20 // vec4
	x, err := m.Device.NewTensor("bench", gpu.F32, count, 4)
	if err != nil {
		return c, err
	}
	defer x.Release()
	y, err := m.Device.NewTensor("bench", gpu.F32, count, 4)
	if err != nil {
		return c, err
	}
	defer y.Release()
	loops, rounds := 1<<8, 4
	if m.Device.Info.Type == "cpu" {
		loops, rounds = 1<<3, 32
	}
	// A CPU's 16 vector registers hold the components of three accumulators; a GPU wants more to hide what an instruction
	// takes.
	for _, vectors := range []int{2, 3, 4, 8, 10, 12, 16} {
		flops := int64(groups) * 64 * int64(loops) * 8 * int64(vectors) * int64(rounds)
		took, err := m.Best(ctx, func(rec *gpu.Recorder) {
			spec := benchFMA.spec(map[string]uint32{"VECTORS": uint32(vectors), "ROUNDS": uint32(rounds)})
			rec.Dispatch(spec, groups, flops, benchFMAParams{Loops: uint32(loops), Factor: 0.5}, y.Single())
		})
		if err != nil {
			return c, err
		}
		if c.FMAFlops == 0 || float64(flops)/took.Seconds > float64(c.FMAFlops)/c.FMA.Seconds {
			c.FMA, c.FMAFlops, c.FMAVectors = took, flops, vectors
		}
		c.FMACPUFlops = max(c.FMACPUFlops, float64(flops)/took.CPUSeconds)
	}
	c.CopyBytes = count * 4 * 8
	for vector, out := range []*Took{&c.CopyF32, &c.CopyVec4} {
		n := count << (2 - 2*vector)
		*out, err = m.Best(ctx, func(rec *gpu.Recorder) {
			spec := benchCopy.spec(map[string]uint32{"VECTOR": uint32(vector)})
			rec.Dispatch(spec, ceilDiv(n, 64), int64(n), benchCopyParams{Count: uint32(n)}, x.Single(), y.Single())
		})
		if err != nil {
			return c, err
		}
	}
	return c, nil
}
