// Package dataloader is what a run learns from: the samples of a data set, in the order and the batches in which they
// come, and what that means for the number of steps and for memory.
package dataloader

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// Loader gives a run's micro-batches.
type Loader struct {
	Samples, Validation dataset.Samples // Validation may have none
	Report              dataset.Report
	Stream              *dataset.Stream
	MaxSeqLength        int // of the settings, and never above the model's own limit
	TotalSteps          int

	settings settings.Train
}

// New makes the samples, those that are too many for memory in the store (nil: there is none), holds some back, and
// lays the steps over them. Errors are *usererr.Error, those in the data marked as such, or the context's.
func New(
	ctx context.Context, c settings.Train, p *processor.Processor, shape spec.Spec, data, valid *dataset.Source, store dataset.Store,
	emit func(events.Event),
) (*Loader, error) {
	if c.EvalSteps > 0 && c.ValSize == 0 && valid == nil {
		return nil, settings.Wrong("eval_steps", strconv.Itoa(c.EvalSteps), "0 without rows to evaluate").
			Hinted("set val_size to hold rows back, or put valid.jsonl beside train.jsonl")
	}
	if err := engine.CheckQuantization(shape, c.Quantization); err != nil {
		return nil, err
	}
	info := func(format string, args ...any) { emit(events.Info{Message: fmt.Sprintf(format, args...)}) }
	l := &Loader{Validation: dataset.InMemory{}, settings: c, MaxSeqLength: min(c.MaxSeqLength, shape.MaxPositions)}
	if l.MaxSeqLength < c.MaxSeqLength {
		info("max_seq_length is %d: the model allows no more.", l.MaxSeqLength)
	}
	encoder := p.Encoder(trainOn(c), l.MaxSeqLength)
	encoder.Stop, encoder.Store = ctx.Err, store
	encode := func(from *dataset.Source) (dataset.Samples, dataset.Report, error) {
		return Encode(encoder, from, emit)
	}
	var err error
	if l.Samples, l.Report, err = encode(data); err != nil {
		return nil, usererr.In(err, usererr.Data)
	}
	info("Data: %s, %s in %s: %d rows, %d samples, %d tokens, %d of them targets, longest %d", strings.ReplaceAll(c.Data, "\n", ", "),
		data.Format, data.Container,
		l.Report.Rows, l.Report.Samples, l.Report.Tokens, l.Report.TargetTokens, l.Report.Longest)
	for _, note := range data.Notes {
		info("Data: %s", note)
	}
	warn := func(what string, r dataset.Report) {
		for _, warning := range r.Warnings(l.MaxSeqLength) {
			emit(events.Warning{Message: what + warning})
		}
	}
	warn("", l.Report)
	switch {
	case valid != nil:
		var report dataset.Report
		if l.Validation, report, err = encode(valid); err == nil {
			warn("Validation: ", report)
		}
	case c.ValSize > 0:
		l.Samples, l.Validation, err = dataset.Split(l.Samples, c.ValSize, c.Seed)
	}
	if err != nil {
		return nil, usererr.In(err, usererr.Data)
	}
	if l.Samples, err = dataset.Weigh(l.Samples, data, c.Seed); err != nil {
		return nil, usererr.In(err, usererr.Data)
	}
	l.Stream = dataset.NewStream(l.Samples, dataset.StreamOptions{
		Seed: c.Seed, Shuffle: c.Shuffle, Packing: c.Packing, BatchSize: c.BatchSize, MaxSeqLength: l.MaxSeqLength,
	})
	l.TotalSteps, err = l.StepsOf(c)
	return l, err
}

// Encode makes the samples of a source, and tells how far it is.
func Encode(e dataset.Encoder, from *dataset.Source, emit func(events.Event)) (dataset.Samples, dataset.Report, error) {
	const long = 5 * time.Second
	began := time.Now()
	meter := events.NewMeter(int64(from.Len()), func(p events.Part) {
		event := events.Encoding{Part: p}
		if took := time.Since(began); took > long {
			event.Rate = float64(p.Done) / took.Seconds()
		}
		emit(event)
	})
	e.Encoded = func() { meter.Add(1) }
	samples, report, err := e.Encode(from)
	if err == nil {
		meter.End()
	}
	return samples, report, err
}

func trainOn(c settings.Train) chat.TrainOn {
	switch {
	case c.TrainOnInputs:
		return chat.TrainOnAll
	case c.TrainOn == "last":
		return chat.TrainOnLast
	}
	return chat.TrainOnAssistant
}

// stepsPerEpoch counts the last step of an epoch, whose window may be shorter.
func (l *Loader) stepsPerEpoch() int {
	return (l.Stream.BatchesPerEpoch() + l.settings.GradientAccumulationSteps - 1) / l.settings.GradientAccumulationSteps
}

// Epochs is how often all steps together pass over the data.
func (l *Loader) Epochs() float64 {
	per, batches := l.stepsPerEpoch(), l.Stream.BatchesPerEpoch()
	begun := float64(l.TotalSteps%per*l.settings.GradientAccumulationSteps) / float64(batches)
	return float64(l.TotalSteps/per) + begun
}

// StepsOf is how many steps a run over this data takes by its settings, of which only its length may be other than the
// loader's.
func (l *Loader) StepsOf(c settings.Train) (int, error) {
	if c.MaxSteps > 0 {
		return c.MaxSteps, nil
	}
	perEpoch := l.stepsPerEpoch()
	steps := math.Ceil(c.NumTrainEpochs * float64(perEpoch))
	if steps > math.MaxInt32 {
		return 0, settings.Wrong("num_train_epochs", fmt.Sprint(c.NumTrainEpochs),
			fmt.Sprintf("at most %d steps, an epoch of this data has %d", math.MaxInt32, perEpoch))
	}
	return max(1, int(steps)), nil
}

// Window is the micro-batches of one optimizer step and their tokens; it does not reach into the next epoch. Errors are
// those of samples that cannot be read.
func (l *Loader) Window() (window []model.Input, tokens int, err error) {
	for len(window) < l.settings.GradientAccumulationSteps {
		b, err := l.Stream.Next()
		if err != nil {
			return nil, 0, err
		}
		window = append(window, Input(b))
		tokens += len(b.IDs)
		if at := l.Stream.Cursor().Batch; at == 0 || at == l.Stream.BatchesPerEpoch() {
			break
		}
	}
	return window, tokens, nil
}

// Input is a data set's micro-batch as the model takes it.
func Input(b dataset.Batch) model.Input {
	return model.Input{IDs: b.IDs, Positions: b.Positions, FirstKey: b.FirstKey, Targets: b.Targets}
}

// Demand is what training on the samples asks of a device.
func (l *Loader) Demand(shape spec.Spec) engine.Demand {
	d := engine.TrainingDemand(shape, l.settings)
	d.Tokens, d.TypicalTokens, d.EvalTokens = l.Stream.MaxTokens(), max(1, l.Stream.MeanTokens()), dataset.Longest(l.Validation)
	return d
}

// Cuts are the settings that would make the demand smaller.
func (l *Loader) Cuts() []engine.Cut {
	c, longest := l.settings, dataset.Longest(l.Samples)
	if c.Packing {
		longest = l.MaxSeqLength
	}
	return []engine.Cut{
		{Setting: "batch_size", From: c.BatchSize, Least: 1, With: func(d *engine.Demand, to int) { d.Tokens = min(d.Tokens, to*longest) }},
		{Setting: "lora_r", From: c.LoraR, Least: 1, With: func(d *engine.Demand, to int) { d.Adapter.Rank = to }},
		{
			Setting: "max_seq_length", From: longest, Least: max(8, l.Samples.FirstTarget()+1),
			With: func(d *engine.Demand, to int) { d.Tokens = min(d.Tokens, to*c.BatchSize) },
		},
	}
}
