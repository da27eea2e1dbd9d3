// Package drift measures how far a model that was written answers from the adapter that it was made of: losses, the
// divergence of probabilities, and the ids that its own template and tokenizer give. The files that were written are
// what is measured, opened as anybody opens them.
package drift

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json/jsontext"
	"math"
	"slices"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataloader"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

const op = "measure drift"

//go:embed sentences.jsonl
var sentences []byte

// Sentences are the rows that come with the program: questions and answers of all kinds, a few tokens each.
func Sentences() *dataset.Source {
	source, err := dataset.Read(bytes.NewReader(sentences), "sentences.jsonl")
	if err != nil {
		panic(err) // they are ours
	}
	return source
}

// Options say what was trained, and on which device it is measured.
type Options struct {
	Model        *pretrained.Model // the base
	Adapters     []*lora.Files     // at least one; several are added on top of each other
	Quantization settings.Quantization
	ChatTemplate string // Jinja source that training had instead of the model's; empty: the model's
	TemplateArgs jsontext.Value
	TrainOn      chat.TrainOn
	MaxSeqLength int // tokens of a row; 0: the model's own limit
	Engine       engine.Options
}

// Live is the adapter over the base model as training kept it, and the rows that it is measured on.
type Live struct {
	options Options
	adapter *lora.Files
	dev     *gpu.Device
	encoder dataset.Encoder
	rows    []row
	longest int // of the sequences that are measured
	tokens  int // answers' tokens that are measured
	now     time.Time
	emit    func(events.Event)

	measured, leftOut int // rows: measured, and those with answers whose logits there is no room for
}

// row is a row of the data with what training makes of it.
type row struct {
	dataset.Row
	samples []dataset.Sample
	inputs  []model.Input // of the samples, those and as much of them as is measured
}

// heldBytes are what the live adapter's logits may take of the host's memory.
const heldBytes = 512 << 20

// Open encodes the rows as training does, and opens the device; the weights are read when something is compared. emit
// gets warnings, and how far it is. Errors are *usererr.Error for rows without an answer and for adapters of another
// model, and the device's.
func Open(ctx context.Context, o Options, data *dataset.Source, emit func(events.Event)) (*Live, error) {
	l := &Live{options: o, now: time.Now(), emit: said(emit, o.Model.Warnings)}
	var err error
	if l.adapter, err = lora.Sum(o.Adapters, lora.LinearsOf(o.Model.Spec)); err != nil {
		return nil, err
	}
	if err := engine.CheckQuantization(o.Model.Spec, o.Quantization); err != nil {
		return nil, err
	}
	if l.encoder, err = l.encoderOf(o.Model, o.Engine.Model, o.ChatTemplate); err != nil {
		return nil, err
	}
	if err := l.encode(data); err != nil {
		return nil, usererr.In(err, usererr.Data)
	}
	if l.dev, err = engine.OpenDevice(ctx, o.Engine, l.emit); err != nil {
		return nil, err
	}
	l.options.Engine.Opened = l.dev
	if e := &l.options.Engine; e.Budget == 0 && e.HostMemory != nil && l.dev.Info.SharesHostMemory() {
		_, available := e.HostMemory()
		e.Budget = available / 2 // as training does, for such a device has no memory of its own
	}
	return l, nil
}

// Close frees the device.
func (l *Live) Close() { l.dev.Release() }

// slowParameters are those from which on a device without a GPU takes minutes for each row.
const slowParameters = 600_000_000

// Slow tells whether measuring takes long beside writing: a large model on a device without a GPU.
func (l *Live) Slow() bool {
	n := int64(0)
	for _, t := range l.options.Model.Spec.Tensors() {
		n += int64(t.Rows) * int64(t.Cols)
	}
	return l.dev.Info.Type == "cpu" && n > slowParameters
}

// said passes on how far it is, and warnings, each once and none that is known: several models are loaded on one
// device.
func said(emit func(events.Event), known []string) func(events.Event) {
	known = slices.Clone(known)
	return func(e events.Event) {
		switch e := e.(type) {
		case events.Evaluating:
			emit(e)
		case events.Warning:
			if !slices.Contains(known, e.Message) {
				known = append(known, e.Message)
				emit(e)
			}
		}
	}
}

// encoderOf encodes rows by a model's tokenizer and template.
func (l *Live) encoderOf(source *pretrained.Model, name, template string) (dataset.Encoder, error) {
	p, err := processor.New(source, name, processor.Options{ChatTemplate: template, TemplateArgs: l.options.TemplateArgs, Now: l.now})
	if err != nil {
		return dataset.Encoder{}, err
	}
	limit := l.options.Model.Spec.MaxPositions
	if l.options.MaxSeqLength > 0 {
		limit = min(limit, l.options.MaxSeqLength)
	}
	return p.Encoder(l.options.TrainOn, limit), nil
}

// encode makes samples of the rows, and takes of them what is measured.
func (l *Live) encode(data *dataset.Source) error {
	most := heldBytes / (4 * l.options.Model.Spec.Vocab)
	err := data.Each(func(i int, r dataset.Row) error {
		encoded, err := l.encoder.Row(r, i)
		if err != nil {
			return usererr.New(op, data.Path, "%w", err).At("%s", r.Where)
		}
		one := row{Row: r, samples: encoded.Samples()}
		stream := dataset.NewStream(dataset.InMemory(one.samples), dataset.StreamOptions{BatchSize: 1, MaxSeqLength: math.MaxInt})
		for range one.samples {
			batch, err := stream.Next()
			if err != nil {
				return err
			}
			in, targets := firstTargets(dataloader.Input(batch), most-l.tokens)
			if targets > 0 {
				one.inputs = append(one.inputs, in)
				l.tokens, l.longest = l.tokens+targets, max(l.longest, len(in.IDs))
			}
		}
		switch {
		case len(one.inputs) > 0:
			l.measured++
		case len(one.samples) > 0:
			l.leftOut++
		}
		l.rows = append(l.rows, one)
		return nil
	})
	if err == nil && l.tokens == 0 {
		err = usererr.New(op, data.Path, "no row has an answer to measure").Hinted("give rows that training could learn from")
	}
	return err
}

// firstTargets is a sequence up to its n-th target, and how many it has.
func firstTargets(in model.Input, n int) (model.Input, int) {
	targets, _ := in.Supervised()
	if len(targets) <= n {
		return in, len(targets)
	}
	if n == 0 {
		return in, 0
	}
	return in.First(int(targets[n-1]) + 1), n
}

// finite refuses a loss that says nothing.
func finite(m Measured, what string) error {
	if math.IsNaN(m.Loss) || math.IsInf(m.Loss, 0) || math.IsNaN(m.KL) || math.IsInf(m.KL, 0) {
		return usererr.New(op, "", "the loss of %s is %v", what, m.Loss).
			Hinted("its weights or those of the adapter may be damaged; `qlora-wgpu check` tests the device")
	}
	return nil
}
