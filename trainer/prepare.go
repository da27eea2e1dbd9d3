package trainer

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// prepareData makes the samples, holds some back, and lays the schedule over the steps.
func (r *run) prepareData(valid *dataset.Source) error {
	c, s := r.config, r.session
	if c.EvalSteps > 0 && c.ValSize == 0 && valid == nil {
		return wrong("eval_steps", strconv.Itoa(c.EvalSteps), "0 without rows to evaluate").Hinted("set val_size to hold rows back, or put valid.jsonl beside train.jsonl")
	}
	r.maxSeqLength = min(c.MaxSeqLength, s.source.Spec.MaxPositions)
	if r.maxSeqLength < c.MaxSeqLength {
		s.info("max_seq_length is %d: the model allows no more.", r.maxSeqLength)
	}
	on := chat.TrainOnAssistant
	switch {
	case c.TrainOnInputs:
		on = chat.TrainOnAll
	case c.TrainOn == "last":
		on = chat.TrainOnLast
	}
	var err error
	if r.samples, r.report, err = s.encoder(on, r.maxSeqLength).Encode(r.data); err != nil {
		return err
	}
	s.info("Data: %s, %s in %s: %d rows, %d samples, %d tokens, %d of them targets, longest %d", c.Data, r.data.Format, r.data.Container,
		r.report.Rows, r.report.Samples, r.report.Tokens, r.report.TargetTokens, r.report.Longest)
	r.reportData()
	switch {
	case valid != nil:
		if r.val, _, err = s.encoder(on, r.maxSeqLength).Encode(valid); err != nil {
			return err
		}
	case c.ValSize > 0:
		if r.samples, r.val, err = dataset.Split(r.samples, c.ValSize, c.Seed); err != nil {
			return err
		}
	}
	for _, sample := range slices.Concat(r.samples, r.val) {
		if err := s.checkIDs(sample.IDs); err != nil {
			return usererr.New("encode data set", c.Data, "%w", err).Hinted("tokenizer and weights belong to different models")
		}
	}
	r.stream = dataset.NewStream(r.samples, dataset.StreamOptions{
		Seed: c.Seed, Shuffle: c.Shuffle, Packing: c.Packing, BatchSize: c.BatchSize, MaxSeqLength: r.maxSeqLength,
	})
	perEpoch := (r.stream.BatchesPerEpoch() + c.GradientAccumulationSteps - 1) / c.GradientAccumulationSteps
	r.totalSteps = c.MaxSteps
	if r.totalSteps == 0 {
		steps := math.Ceil(c.NumTrainEpochs * float64(perEpoch))
		if steps > math.MaxInt32 {
			return wrong("num_train_epochs", fmt.Sprint(c.NumTrainEpochs), fmt.Sprintf("at most %d steps, an epoch of this data has %d", math.MaxInt32, perEpoch))
		}
		r.totalSteps = max(1, int(steps))
	}
	r.schedule = NewSchedule(c, r.totalSteps)
	return nil
}

// reportData says what did not become a sample as it stood.
func (r *run) reportData() {
	report := r.report
	warn := func(format string, args ...any) {
		r.session.emit(Event{Kind: "warning", Message: fmt.Sprintf(format, args...)})
	}
	for _, note := range r.data.Notes {
		r.session.info("Data: %s", note)
	}
	for _, d := range report.Dropped {
		warn("%d rows left out (%s), the first at %s", d.Rows, d.Reason, d.First)
	}
	if report.Truncated > 0 {
		warn("%d conversations are longer than %d tokens and were cut off; %d of them lost a part of an answer", report.Truncated, r.maxSeqLength, report.AnswersCut)
	}
	if report.ToolsUnseen > 0 {
		warn("%d rows describe tools, which the chat template does not show to the model", report.ToolsUnseen)
	}
}

// prepareAdapter attaches a fresh adapter, or the one to continue from.
func (r *run) prepareAdapter(from *AdapterFiles) (err error) {
	c, s := r.config, r.session
	if from != nil {
		r.adapter, err = s.attach(from.Config, r.moments(), from.Tensors, from.Path)
	} else {
		r.adapter, err = lora.Attach(s.dev, s.model.Linears(), c.adapter(), r.moments())
		if err == nil {
			err = r.adapter.Init(c.Seed)
		}
	}
	return err
}

func (r *run) describeAdapter() {
	s := r.session
	trainable, all := r.adapter.Parameters(), s.model.Parameters()+r.adapter.Parameters()
	s.info("Adapter: %s", r.adapter.Config)
	s.info("trainable params: %s || all params: %s || trainable%%: %.4f", thousands(trainable), thousands(all), 100*float64(trainable)/float64(all))
}
