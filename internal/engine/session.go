package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/paging"
)

// Cache keeps what was measured on a device between runs; a name that is not there gives an error.
type Cache interface {
	Load(name string) ([]byte, error)
	Save(name string, data []byte) error
}

// Options are what everybody who puts a model on a device gives.
type Options struct {
	Model      string // as the user named it
	Device     string // adapter by index or by a part of its name
	Autotune   string
	Budget     int64                           // bytes that may be taken of the device; 0: not said
	Cache      Cache                           // of what was measured; nil: none
	Quantized  paging.Cache                    // of quantized models; nil: none
	HostMemory func() (total, available int64) // of this machine in bytes, 0 where unknown; may be nil
	Room       Room                            // what is known of the memory before anything is loaded
	// factor on the length of submissions, for a driver that cannot bear the usual one; 0: none
	SubmitScale float64
	Opened      *gpu.Device // used instead of opening Device, and left open; nil: none
}

// Session is a device, what is known about it, and the model that Prepare puts on it.
type Session struct {
	Device *gpu.Device
	Source *pretrained.Model

	options  Options
	model    *model.Model
	engine   *Engine
	measured measurements
	limited  bool // the device gives no more than this session allows
	emit     func(events.Event)
}

// Open opens the device. The caller releases the session and closes source.
func Open(ctx context.Context, o Options, source *pretrained.Model, emit func(events.Event)) (*Session, error) {
	s := &Session{Device: o.Opened, Source: source, options: o, emit: emit}
	for _, warning := range source.Warnings {
		s.warn("%s", warning)
	}
	if s.Device != nil {
		s.meet(s.Device)
		return s, nil
	}
	if err := s.choose(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Release frees what Prepare made, and the device where Open opened it.
func (s *Session) Release() {
	s.Unload()
	s.unlimit()
	if s.options.Opened == nil {
		s.Device.Release()
	}
}

// Unload frees what Prepare made, as far as it came: engine, adapter and model.
func (s *Session) Unload() {
	if s.engine != nil {
		s.engine.Release()
	}
	if s.engine != nil && s.engine.Adapter != nil {
		s.engine.Adapter.Detach()
	}
	if s.model != nil {
		s.model.Release()
	}
	s.engine, s.model = nil, nil
}

// limit bounds what the device gives until unlimit.
func (s *Session) limit(bytes int64) {
	s.Device.LimitMemory(bytes)
	s.limited = true
}

func (s *Session) unlimit() {
	if s.limited {
		s.Device.LimitMemory(0)
	}
	s.limited = false
}

func (s *Session) info(format string, args ...any) {
	s.emit(events.Info{Message: fmt.Sprintf(format, args...)})
}

func (s *Session) preparing(format string, args ...any) {
	s.emit(events.Preparing{Message: fmt.Sprintf(format, args...)})
}

func (s *Session) warn(format string, args ...any) {
	s.emit(events.Warning{Message: fmt.Sprintf(format, args...)})
}

// load puts the model where the plan says.
func (s *Session) load(ctx context.Context, d Demand, plan *paging.Plan) (err error) {
	start, o := time.Now(), s.options
	s.emit(events.Load{})
	if s.model, err = model.Load(ctx, s.Device, s.Source, model.LoadOptions{
		Format: d.Format, Plan: plan, Cache: o.Quantized, Progress: s.loaded(),
	}); err != nil {
		return s.about(err)
	}
	if o.Quantized != nil && !s.model.Store().Streams() {
		o.Quantized.Release() // all of it is on the device
	}
	s.info("Model: %s, %.1f M parameters in %d layers, %s, %.1f MiB (loaded in %.1f s)",
		o.Model, float64(s.model.Parameters())/1e6, s.model.Shape().Layers, s.describeFormat(d.Format),
		float64(s.model.FrozenBytes())/(1<<20), time.Since(start).Seconds())
	return nil
}

// loaded tells of each section, and in large ones of what there is of them.
func (s *Session) loaded() func(p paging.Progress) {
	told, sections := time.Now(), 0
	return func(p paging.Progress) {
		if p.Sections == sections && time.Since(told) < loadEvery {
			return
		}
		told, sections = time.Now(), p.Sections
		s.emit(events.Load{
			Part: events.Part{Done: int64(p.Sections), Total: int64(p.OfSections)}, Bytes: p.Bytes, TotalBytes: p.OfBytes,
		})
	}
}

const loadEvery = 100 * time.Millisecond

// describeFormat tells how the linears are kept, and what was rounded for it where that is all that was done to them.
func (s *Session) describeFormat(format frozen.Formats) string {
	var from []string
	for _, l := range s.model.Linears() {
		if format.Of(l.Name) != frozen.BFloat16 {
			continue
		}
		if kind := s.Source.Type(l.Name + ".weight"); kind != "BF16" && !slices.Contains(from, kind) {
			from = append(from, kind)
		}
	}
	if len(from) == 0 {
		return format.String()
	}
	return format.String() + ", rounded from " + strings.Join(from, " and ")
}

// about names the model in an error that is about it.
func (s *Session) about(err error) error { return About(err, s.options.Model) }

// About names a model in an error that names no file.
func About(err error, path string) error {
	if mistake := (*usererr.Error)(nil); errors.As(err, &mistake) && mistake.Path == "" {
		mistake.Path = path
	}
	return err
}

const tuneTime = 20 * time.Second

// tune measures the variants that the recorded programs want, unless that was done before on this device.
func (s *Session) tune(ctx context.Context) error {
	if s.options.Autotune == "off" {
		return nil
	}
	start := time.Now()
	var lines int
	err := kernels.Tune(ctx, s.Device, kernels.Tuning{
		Deadline: start.Add(tuneTime), Rejected: s.measured.rejected(), Trying: s.trying, CPU: host.CPUSeconds,
		Report: func(line string) {
			lines++
			s.info("%s", line)
		},
		Measured: func(done, total int) {
			s.emit(events.Tuning{Part: events.Part{Done: int64(done), Total: int64(total)}})
		},
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w: autotune: %w", ErrFault, err)
	}
	if lines > 0 {
		s.preparing("Autotune took %.1f s; the choices are cached for this device.", time.Since(start).Seconds())
		s.measured.Variants, _ = json.Marshal(s.Device.Variants)
		s.saveMeasurements()
	}
	return nil
}
