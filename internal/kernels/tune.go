package kernels

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"qlora-wgpu/gpu"
)

// tuneFlops bounds the work of one measurement, so that a slow candidate on a slow device costs a fraction of a second. A fast GPU, which that does not fill, gets more.
func tuneFlops(dev *gpu.Device) int {
	if dev.Info.Type == "cpu" {
		return 1 << 27
	}
	return 1 << 32
}

// enough tells whether a measurement of so long and so many output elements says how fast a GPU is.
func enough(took time.Duration, outputs int) bool {
	return took >= 20*time.Millisecond || took >= 2*time.Millisecond && outputs >= 1<<22
}

// Tuning says how to go about measuring.
type Tuning struct {
	Deadline time.Time
	Rejected []string // candidates that are left out
	Report   func(line string)
	// Trying is told each candidate, "operation class variant", before it runs, and "" when all is well again: one that takes the process with it can be found afterwards. nil: nobody wants to know.
	Trying func(candidate string)
}

// Tune measures the variants of every shape class that was asked for and has no choice yet (a dry recording of a step asks for all), and records the fastest.
// It stops at the deadline; classes not reached keep their fallback. Choices change speed and the order of sums, never what is computed.
// A software device in a browser keeps all fallbacks: each candidate would take it seconds to compile.
// After an error that is not the context's, the device is not to be used any more.
func Tune(ctx context.Context, dev *gpu.Device, o Tuning) error {
	if o.Trying == nil {
		o.Trying = func(string) {}
	}
	if dev.Info.Type == "cpu" && dev.Info.Backend == "browser" {
		return nil
	}
	for _, key := range dev.Variants.Wanted() {
		op, class, _ := strings.Cut(key, " ")
		var t, n, k int
		if _, err := fmt.Sscanf(class, "T%d N%d K%d", &t, &n, &k); err != nil {
			continue // an operation whose variants are chosen by rule
		}
		if time.Now().After(o.Deadline) {
			o.Report("autotune: out of time, the remaining shapes use the defaults")
			return nil
		}
		if err := tuneMatmul(ctx, dev, op, class, t, n, k, o); err != nil {
			return err
		}
	}
	return nil
}

func tuneMatmul(ctx context.Context, dev *gpu.Device, op, class string, t, n, k int, o Tuning) error {
	if t < 16 || min(n, k) < 64 {
		return nil // LoRA's products and single tokens: too small to measure, or for it to matter
	}
	try := func(candidate string, run func() error) error {
		o.Trying(candidate)
		err := run()
		if err == nil || ctx.Err() != nil {
			o.Trying("")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", candidate, err)
		}
		return nil
	}
	prefix := op + " " + class + " "
	timed := func(name string, bench func(rec *gpu.Recorder), hopeless time.Duration) (times []time.Duration, err error) {
		err = try(prefix+name, func() (err error) {
			dev.Variants.Force(op, name)
			defer dev.Variants.Force(op, "")
			times, err = measure(ctx, dev, bench, hopeless)
			return err
		})
		return times, err
	}
	// A part of a tall matrix decides for the whole; the tokens stay what they are.
	part := max(64, min(n, tuneFlops(dev)/(2*t*k)/64*64))
	bench, release, err := newMatmulBench(dev, op, t, part, k)
	if err != nil || bench == nil {
		return err
	}
	defer func() { release() }()
	for probe := tiledFallback(t); dev.Info.Type != "cpu" && part < n && !slices.Contains(o.Rejected, prefix+probe); {
		times, err := timed(probe, bench, 0)
		if err != nil {
			return err
		}
		if enough(slices.Min(times), t*part) {
			break
		}
		more := min(n, 4*part)
		larger, releaseLarger, err := newMatmulBench(dev, op, t, more, k)
		if err != nil || larger == nil {
			releaseLarger()
			break
		}
		release()
		part, bench, release = more, larger, releaseLarger
	}
	names := slices.DeleteFunc(candidates(dev, op, t, n, k), func(name string) bool { return slices.Contains(o.Rejected, prefix+name) })
	if all := prefix + "compiled together"; !slices.Contains(o.Rejected, all) { // where that kills, one after the other tells which
		if err := try(all, func() error { return compile(dev, op, names, bench) }); err != nil {
			return err
		}
	}
	best, bestTime := "", time.Duration(0)
	for _, name := range names {
		times, err := timed(name, bench, 3*bestTime)
		if err != nil {
			return err
		}
		if took := slices.Min(times); best == "" || took < bestTime {
			best, bestTime = name, took
		}
	}
	if best == "" {
		return nil // all are rejected
	}
	dev.Variants.Set(op, class, best)
	o.Report(fmt.Sprintf("autotune: %s %s: %s, %.1f GFLOP/s", op, class, best, float64(2*t*part*k)/bestTime.Seconds()/1e9))
	return nil
}

// compile makes the candidates' kernels, several at a time.
func compile(dev *gpu.Device, op string, variants []string, record func(rec *gpu.Recorder)) error {
	var specs []gpu.KernelSpec
	for _, name := range variants {
		dev.Variants.Force(op, name)
		rec := dev.DryRecord("autotune")
		record(rec)
		specs = append(specs, rec.Kernels()...)
	}
	dev.Variants.Force(op, "")
	return dev.Compile(specs)
}

// hangs is how long a fraction of a second's work may take before the device is taken for stuck. WebGPU would wait forever.
var hangs = 50 * time.Second

// waitOrAbandon waits for a measurement, and abandons the device when that takes too long. The waiting then goes on beside what follows.
func waitOrAbandon(ctx context.Context, dev *gpu.Device) error {
	done := make(chan error, 1)
	go func() { done <- dev.Wait(ctx) }()
	select {
	case err := <-done:
		return err
	case <-time.After(hangs):
		err := fmt.Errorf("no answer from the device within %v", hangs)
		dev.Abandon(err)
		return err
	}
}

// measure runs once to warm up, since some drivers compile then, and then twice, or once where that takes longer than hopeless (0: no limit), or not at all where the first run
// took much longer.
func measure(ctx context.Context, dev *gpu.Device, record func(rec *gpu.Recorder), hopeless time.Duration) (times []time.Duration, err error) {
	for run := range 3 {
		if run == 2 && hopeless > 0 && times[0] > hopeless {
			break
		}
		start := time.Now()
		rec := dev.Record("autotune")
		record(rec)
		if err := rec.Submit(); err != nil {
			return nil, err
		}
		if err := waitOrAbandon(ctx, dev); err != nil {
			return nil, err
		}
		took := time.Since(start)
		if run == 0 && hopeless > 0 && took > 3*hopeless {
			return []time.Duration{took}, nil
		}
		if run > 0 {
			times = append(times, took)
		}
	}
	return times, nil
}

// newMatmulBench makes operands of zeros: speed does not depend on the values. It is nil for an operation that is not tuned or a shape that does not fit.
func newMatmulBench(dev *gpu.Device, op string, t, n, k int) (record func(rec *gpu.Recorder), release func(), err error) {
	var made []*gpu.Tensor
	release = func() {
		for _, x := range made {
			x.Release()
		}
	}
	tensor := func(dtype gpu.DType, rows, cols int) *gpu.Tensor {
		if err != nil {
			return nil
		}
		var x *gpu.Tensor
		if x, err = dev.NewUniformTensor("autotune", dtype, rows, cols); err == nil {
			made = append(made, x)
		}
		return x
	}
	if gpu.F32.Size(t*max(n, k)) > dev.Limits.MaxBindingBytes {
		return nil, release, nil
	}
	x, y := tensor(gpu.F32, t, k), tensor(gpu.F32, t, (n+3)/4*4)
	switch op {
	case "matmul_nf4_forward", "matmul_nf4_backward":
		const block = 64
		blocks := ceilDiv(n*k, block)
		words := RegionHeader + n*k/8 + ceilDiv(blocks, 4) + blocks/256 + 1024
		if int64(words)*4 > dev.Limits.MaxBindingBytes {
			return nil, release, nil // sharded: the smaller shapes decide
		}
		region := tensor(gpu.U32, 1, words)
		if err != nil {
			return nil, release, err
		}
		packed := uint32((RegionHeader + 63) / 64 * 64)
		codes := packed + uint32(n*k/8)
		w := &NF4Weight{Name: "autotune", N: n, K: k, BlockSize: block, Shards: []NF4Shard{{
			Region: region.Single(), Rows: n, Packed: packed, Codes: codes, Nested: codes + uint32(ceilDiv(blocks, 4)), Bias: NoBias,
		}}}
		if op == "matmul_nf4_forward" {
			return func(rec *gpu.Recorder) { MatmulNF4Forward(rec, y, x, w) }, release, nil
		}
		return func(rec *gpu.Recorder) { MatmulNF4Backward(rec, x, y, w, false) }, release, nil
	case "matmul_forward", "matmul_backward":
		// Of the plain products only the head's is heavy, and its table is bfloat16.
		w := tensor(gpu.BF16, (n+3)/4*4, k)
		if err != nil {
			return nil, release, err
		}
		if op == "matmul_forward" {
			return func(rec *gpu.Recorder) { MatmulForward(rec, y, x, w, 1, false) }, release, nil
		}
		return func(rec *gpu.Recorder) { MatmulBackward(rec, x, y, w, 1, false) }, release, nil
	}
	return nil, release, err
}
