//go:build !js

package bench

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/paging"
)

// Took is the least that something took in several runs: what the machine does when nothing disturbs it.
type Took struct {
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"` // of this process, on all cores
}

func (t *Took) least(seconds, cpu float64) {
	if t.Seconds == 0 || seconds < t.Seconds {
		t.Seconds = seconds
	}
	if t.CPUSeconds == 0 || cpu < t.CPUSeconds {
		t.CPUSeconds = cpu
	}
}

// LoadResult compares loading a model, without a cache of quantized ones, with reading all of it as float32.
type LoadResult struct {
	Device   string `json:"device"`
	Model    string `json:"model"`
	Elements int64  `json:"elements"`
	Cores    int    `json:"cores"`
	Runs     int    `json:"runs"`
	Read     Took   `json:"read"`   // every tensor dequantized to float32 on all cores, and kept
	Cached   Took   `json:"cached"` // the same, and thrown away: each core has one buffer, which stays in its first cache
	// read, and from there quantized twice or rounded to bfloat16 into the host bytes of a run whose weights stream
	Quantize Took `json:"quantize"`
	Load     Took `json:"load"` // the same for a run whose weights are on the device, until they are there
	// Ratio is Quantize to Read. Both leave new memory behind, which the system has to clear for them.
	Ratio       float64 `json:"ratio"`
	CPURatio    float64 `json:"cpu_ratio"`
	CachedRatio float64 `json:"cpu_ratio_to_cached"`
}

// Load reads the model at the path and loads it, in turns. emit is told where another device than the first is taken.
func Load(ctx context.Context, o settings.BenchLoad, emit func(events.Event)) (*LoadResult, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	source, err := host.OpenModel(ctx, o.Model, emit)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	if err := engine.CheckQuantization(source.Spec, o.Quantization); err != nil {
		return nil, err
	}
	dev, err := engine.OpenDevice(ctx, engine.Options{Device: o.Device, Cache: host.MeasurementsIn("")}, emit)
	if err != nil {
		return nil, err
	}
	defer dev.Release()
	r := &LoadResult{Device: dev.Info.String(), Model: o.Model, Cores: runtime.GOMAXPROCS(0), Runs: o.Runs}
	for _, t := range source.Tensors() {
		r.Elements += int64(t.Rows) * int64(t.Cols)
	}
	onHost := &paging.Plan{Decisions: paging.Decisions{HostEmbedding: true, StreamedHead: math.MaxInt}}
	onHost.StreamedLayers = slices.Repeat([]bool{true}, len(source.Spec.Layers))
	load := func(t *Took, plan *paging.Plan) error {
		var m *model.Model
		err := timed(t, func() (err error) {
			format := engine.FormatsOf(source.Spec, o.Quantization)
			if m, err = model.Load(ctx, dev, source, model.LoadOptions{Format: format, Plan: plan}); err == nil {
				err = dev.Wait(ctx)
			}
			return err
		})
		if m != nil {
			m.Release()
		}
		return engine.About(err, o.Model)
	}
	for range o.Runs {
		if err := timed(&r.Read, func() error { return readAll(ctx, source, true) }); err != nil {
			return nil, err
		}
		if err := timed(&r.Cached, func() error { return readAll(ctx, source, false) }); err != nil {
			return nil, err
		}
		if err := load(&r.Quantize, onHost); err != nil {
			return nil, err
		}
		if err := load(&r.Load, nil); err != nil {
			return nil, err
		}
	}
	r.Ratio, r.CPURatio, r.CachedRatio = r.Quantize.Seconds/r.Read.Seconds,
		r.Quantize.CPUSeconds/r.Read.CPUSeconds, r.Quantize.CPUSeconds/r.Cached.CPUSeconds
	return r, nil
}

func timed(t *Took, do func() error) error {
	runtime.GC() // what came before is not this one's to clear away
	start, used := time.Now(), host.CPUSeconds()
	if err := do(); err != nil {
		return err
	}
	t.least(time.Since(start).Seconds(), host.CPUSeconds()-used)
	return nil
}

// readAll dequantizes every tensor on all cores, in chunks of about so many elements as loading takes at a time, into
// memory of its own or into a buffer of each core.
func readAll(ctx context.Context, source *pretrained.Model, keep bool) error {
	const chunk, most = 1 << 13, 1 << 16
	type rows struct {
		name         string
		first, count int
		dst          []float32 // nil: a buffer
		n            int
	}
	var tasks []rows
	for _, t := range source.Tensors() {
		var all []float32
		if keep {
			all = make([]float32, t.Rows*t.Cols)
		}
		step := max(1, chunk/max(1, t.Cols))
		for row := 0; row < t.Rows; row += step {
			task := rows{name: t.Name, first: row, count: min(step, t.Rows-row)}
			task.n = task.count * t.Cols
			if keep {
				task.dst = all[row*t.Cols:][:task.n]
			}
			tasks = append(tasks, task)
		}
	}
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			buffer := make([]float32, most)
			for i := next.Add(1) - 1; int(i) < len(tasks) && ctx.Err() == nil; i = next.Add(1) - 1 {
				task := tasks[i]
				if task.dst == nil {
					if task.n > len(buffer) {
						buffer = make([]float32, task.n)
					}
					task.dst = buffer[:task.n]
				}
				if err := source.ReadRows(task.name, task.first, task.count, task.dst); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return group.Wait()
}
