package drift

import (
	"context"
	"maps"
	"slices"
	"strings"

	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// Written is a model that was made of the adapter.
type Written struct {
	Model *pretrained.Model // opened from what was written
	Path  string            // of that, for messages
	// Merged gives rows of the weights as they were before they were quantized, where what was written is quantized; as
	// pretrained.Model's WithRows takes them.
	Merged func(tensor string, first, n int, dst []float32) error
	// Dequantized: adapters were added to the weights as training saw them, not to those of the files.
	Dequantized bool
}

// Compare measures all of it, one model on the device at a time. Errors are *usererr.Error for a loss that is not
// finite and for what the device has no room for, the device's, and ctx's.
func (l *Live) Compare(ctx context.Context, w Written) (*Report, error) {
	r := &Report{Rows: l.measured, AnswerTokens: l.tokens, RowsLeftOut: l.leftOut, Warnings: []string{}}
	r.Template = l.compareIDs(w)
	live, err := l.measureLive(ctx, r)
	if err != nil {
		return nil, err
	}
	asStored, types, quantized := formatOf(w.Model)
	if r.written = &r.Merged; quantized {
		r.written = &r.Requantized
	}
	if *r.written, err = l.compare(ctx, w.Model, w.Path, asStored, types, live); err != nil {
		return nil, err
	}
	switch {
	case quantized && w.Merged != nil:
		before := l.options.Model.WithRows(w.Merged)
		r.Merged, err = l.compare(ctx, before, w.Path, frozen.Float32, "F32, before it was quantized", live)
	case !quantized && w.Model.Config() != nil: // a folder
		again := frozen.NF4(settings.Default[settings.Quantization]().BlockSize)
		r.Requantized, err = l.compare(ctx, w.Model, w.Path, again, "NF4 again, as bitsandbytes loads it", live)
	}
	if err != nil {
		return nil, err
	}
	if l.options.Quantization.Quantize == settings.Unquantized || l.options.Model.Spec.Quantized != nil {
		w.Dequantized = true // training saw the weights of the files
	}
	r.Threshold, r.Warnings = r.threshold(), append(r.Warnings, r.warnings(w)...)
	return r, nil
}

// measureLive measures the live adapter, and the base under it.
func (l *Live) measureLive(ctx context.Context, r *Report) (live []answer, err error) {
	format := engine.FormatsOf(l.options.Model.Spec, l.options.Quantization)
	err = l.run(ctx, l.options.Model, l.options.Engine.Model, format, l.adapter, func(e *engine.Engine) (err error) {
		if live, err = l.answers(ctx, e); err != nil {
			return err
		}
		r.Live = measured(live, format.String())
		r.Base, err = l.against(ctx, e.Base(), live, format.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return live, finite(r.Live, "the live adapter")
}

// compare measures a model without an adapter; kept says how its weights are.
func (l *Live) compare(
	ctx context.Context, source *pretrained.Model, path string, format frozen.Formats, kept string, live []answer,
) (m *Measured, err error) {
	if held, want := source.Spec.Vocab, l.options.Model.Spec.Vocab; held != want {
		return nil, usererr.New(op, path, "its vocabulary has %d tokens, that of the base %d", held, want)
	}
	err = l.run(ctx, source, path, format, nil, func(e *engine.Engine) error {
		found, err := l.against(ctx, e, live, kept)
		m = &found
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, finite(*m, "what was written")
}

// formatOf is how the linears of a model are kept so that each value is that of the files, of what types these are, and
// whether that is a quantized one.
func formatOf(m *pretrained.Model) (format frozen.Formats, types string, quantized bool) {
	if m.Spec.Quantized != nil {
		return engine.FormatsOf(m.Spec, settings.Quantization{}), "NF4", true
	}
	own, kinds := map[string]frozen.Format{}, map[string]int{}
	for _, t := range m.Spec.Tensors() {
		if t.Role != spec.Matrix {
			continue
		}
		kind := m.Type(t.Name)
		kinds[kind]++
		own[strings.TrimSuffix(t.Name, ".weight")] = frozen.Float32
		if kind == "BF16" {
			own[strings.TrimSuffix(t.Name, ".weight")] = frozen.BFloat16
		}
		quantized = quantized || !slices.Contains([]string{"BF16", "F16", "F32", "F64"}, kind)
	}
	most := func(a, b string) int { return kinds[b] - kinds[a] }
	return frozen.Mixed(own), strings.Join(slices.SortedStableFunc(slices.Values(slices.Sorted(maps.Keys(kinds))), most), ", "), quantized
}

// run loads a model, with an adapter over it or without (nil), for the time of do.
func (l *Live) run(
	ctx context.Context, source *pretrained.Model, name string, format frozen.Formats, adapter *lora.Files, do func(*engine.Engine) error,
) error {
	o := l.options.Engine
	o.Model = name
	s, err := engine.Open(ctx, o, source, l.emit)
	if err != nil {
		return err
	}
	defer s.Release()
	demand := engine.Demand{Shape: source.Spec, Format: format, EvalTokens: l.longest}
	var with engine.Trainable
	if adapter != nil {
		demand.Adapter = adapter.Config
		with.Fill = func(a *lora.Adapter) error { return a.SetTensors(adapter.Tensors, adapter.Path) }
	}
	e, err := s.Prepare(ctx, demand, with)
	if err != nil {
		return err
	}
	return do(e)
}
