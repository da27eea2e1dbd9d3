package kernels

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"qlora-wgpu/gpu"
)

// tuneFlops bounds the work of one measurement, so that a slow candidate on a slow device costs a fraction of a second. A fast GPU, which that does not fill, gets more.
func tuneFlops(dev *gpu.Device) int {
	if dev.Info.Type == "cpu" {
		return 1 << 28
	}
	return 1 << 32
}

// sample is how many tokens and rows of a product decide for all of it: a part of a tall matrix, and on a CPU device no more tokens than every tile divides.
func sample(dev *gpu.Device, t, n, k int) (tokens, rows int) {
	least := 64
	if dev.Info.Type == "cpu" {
		t, least = min(t, 128), 256 // all tiles are full, and there are enough of them for the cores
	}
	return t, min(n, max(least, tuneFlops(dev)/(2*t*k)/least*least))
}

// enough tells whether a measurement of so long and so many output elements says how fast a GPU is.
func enough(took Took, outputs int) bool {
	return took.Seconds >= 20e-3 || took.Seconds >= 2e-3 && outputs >= 1<<22
}

// Tuning says how to go about measuring.
type Tuning struct {
	Deadline time.Time
	Rejected []string // candidates that are left out
	Report   func(line string)
	CPU      func() float64 // what this process used of the CPU so far, in seconds; nil: nobody knows
	// Trying is told each candidate, "operation class variant", before it runs, and "" when all is well again: one that takes the process with it can be found afterwards. nil: nobody wants to know.
	Trying func(candidate string)
}

// tunedOps are the operations whose variants are measured, the heaviest of a training step first.
var tunedOps = []string{"matmul_nf4_forward", "matmul_nf4_backward", "matmul_forward", "matmul_backward"}

// tunedShape is a product of T tokens, N rows and K columns that wants a choice, or has got one.
type tunedShape struct {
	op, class string
	t, n, k   int
	nth       int // of its operation's
	best      string
}

func (s tunedShape) key() string { return s.op + " " + s.class }

// wantedShapes are those to measure: one of every operation before the second of any, since a shape can take another's choice.
// Left out are LoRA's products and single tokens, too small to measure, or for it to matter.
func wantedShapes(wanted []string) (shapes []tunedShape) {
	count := map[string]int{}
	for _, key := range wanted {
		op, class, _ := strings.Cut(key, " ")
		s := tunedShape{op: op, class: class, nth: count[op]}
		if _, err := fmt.Sscanf(class, "T%d N%d K%d", &s.t, &s.n, &s.k); err != nil || !slices.Contains(tunedOps, op) || s.t < 16 || min(s.n, s.k) < 64 {
			continue
		}
		count[op]++
		shapes = append(shapes, s)
	}
	slices.SortStableFunc(shapes, func(a, b tunedShape) int {
		return cmp.Or(a.nth-b.nth, slices.Index(tunedOps, a.op)-slices.Index(tunedOps, b.op))
	})
	return shapes
}

// alike is the choice of the measured shape of the same operation whose sizes are nearest by their ratios; empty without one.
func (s tunedShape) alike(measured []tunedShape) (best string) {
	far := func(a, b int) float64 { return math.Abs(math.Log(float64(a) / float64(b))) }
	nearest := math.Inf(1)
	for _, m := range measured {
		if distance := far(s.t, m.t) + far(s.n, m.n) + far(s.k, m.k); m.op == s.op && m.best != "" && distance < nearest {
			best, nearest = m.best, distance
		}
	}
	return best
}

// Tune measures the variants of every shape class that was asked for and has no choice yet (a dry recording of a step asks for all), and records the fastest.
// It stops at the deadline; a class not reached takes what the nearest measured one of its operation took, without one it keeps its fallback. Choices change speed and the
// order of sums, never what is computed.
// A software device in a browser keeps all fallbacks: each candidate would take it seconds to compile.
// After an error that is not the context's, the device is not to be used any more.
func Tune(ctx context.Context, dev *gpu.Device, o Tuning) error {
	if o.Trying == nil {
		o.Trying = func(string) {}
	}
	if dev.Info.Type == "cpu" && dev.Info.Backend == "browser" {
		return nil
	}
	shapes := wantedShapes(dev.Variants.Wanted())
	for i := range shapes {
		if time.Now().After(o.Deadline) {
			o.Report(fmt.Sprintf("autotune: out of time, %d shapes take what shapes like them took, or the defaults", len(shapes)-i))
			for _, s := range shapes[i:] {
				if like := s.alike(shapes[:i]); like != "" && !slices.Contains(o.Rejected, s.key()+" "+like) {
					dev.Variants.Set(s.op, s.class, like)
				}
			}
			return nil
		}
		if err := o.tune(ctx, dev, &shapes[i]); err != nil {
			return err
		}
	}
	return nil
}

// tune finds the best variant of a shape.
func (o Tuning) tune(ctx context.Context, dev *gpu.Device, s *tunedShape) error {
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
	prefix := s.key() + " "
	timed := func(name string, bench func(rec *gpu.Recorder), hopeless float64) (took Took, err error) {
		err = try(prefix+name, func() (err error) {
			dev.Variants.Force(s.op, name)
			defer dev.Variants.Force(s.op, "")
			took, err = o.measure(ctx, dev, bench, hopeless)
			return err
		})
		return took, err
	}
	tokens, part := sample(dev, s.t, s.n, s.k)
	bench, release, err := newMatmulBench(dev, s.op, tokens, part, s.k)
	if err != nil || bench == nil {
		return err
	}
	defer func() { release() }()
	for probe := tiledFallback(s.t); dev.Info.Type != "cpu" && part < s.n && !slices.Contains(o.Rejected, prefix+probe); {
		took, err := timed(probe, bench, 0)
		if err != nil {
			return err
		}
		if enough(took, s.t*part) {
			break
		}
		more := min(s.n, 4*part)
		larger, releaseLarger, err := newMatmulBench(dev, s.op, tokens, more, s.k)
		if err != nil || larger == nil {
			releaseLarger()
			break
		}
		release()
		part, bench, release = more, larger, releaseLarger
	}
	names := slices.DeleteFunc(candidates(dev, s.op, s.t, s.n, s.k), func(name string) bool { return slices.Contains(o.Rejected, prefix+name) })
	if all := prefix + "compiled together"; !slices.Contains(o.Rejected, all) { // where that kills, one after the other tells which
		if err := try(all, func() error { return compile(dev, s.op, names, bench) }); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil // all are rejected
	}
	took, best := make([]Took, len(names)), 0
	for round := range 2 { // in turns, since other work on the machine disturbs some runs
		for i, name := range names {
			if round > 0 && (len(names) == 1 || took[i].Seconds > 1.5*took[best].Seconds) {
				continue
			}
			now, err := timed(name, bench, 3*took[best].Seconds)
			if err != nil {
				return err
			}
			if round > 0 {
				now = now.least(took[i])
			}
			took[i] = now
			if now.less(dev, took[best]) {
				best = i
			}
		}
	}
	s.best = names[best]
	dev.Variants.Set(s.op, s.class, s.best)
	o.Report(fmt.Sprintf("autotune: %s: %s, %.1f GFLOP/s", s.key(), s.best, float64(2*tokens*part*s.k)/took[best].Seconds/1e9))
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

// measure runs once to warm up, whatever that takes, since some drivers compile then, and then twice, or once where that takes longer than hopeless (seconds; 0: no limit). It returns
// the least of what came after the warm-up.
func (o Tuning) measure(ctx context.Context, dev *gpu.Device, record func(rec *gpu.Recorder), hopeless float64) (least Took, err error) {
	cpu := func() float64 { return 0 }
	if o.CPU != nil {
		cpu = o.CPU
	}
	for run := range 3 {
		if run == 2 && hopeless > 0 && least.Seconds > hopeless {
			break
		}
		start, used := time.Now(), cpu()
		rec := dev.Record("autotune")
		record(rec)
		if err := rec.Submit(); err != nil {
			return least, err
		}
		if err := waitOrAbandon(ctx, dev); err != nil {
			return least, err
		}
		took := Took{time.Since(start).Seconds(), cpu() - used}
		switch {
		case run == 1:
			least = took
		case run == 2:
			least = least.least(took)
		}
	}
	return least, nil
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
