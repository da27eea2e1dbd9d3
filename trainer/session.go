package trainer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/tokenizer"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// Cache keeps what was measured on a device between runs; a name that is not there gives an error.
type Cache interface {
	Load(name string) ([]byte, error)
	Save(name string, data []byte) error
}

// session is a device with a model on it, its tokenizer and its chat template.
type session struct {
	dev       *gpu.Device
	source    *pretrained.Model
	model     *model.Model
	tokenizer *tokenizer.Tokenizer
	template  *chat.Template
	cache     Cache
	measured  measurements
	options   sessionOptions
	emit      func(Event)
}

// sessionOptions are what every command that needs a model gives.
type sessionOptions struct {
	Model        string // as the user named it
	Device       string
	Autotune     string
	ChatTemplate string // Jinja source that replaces the model's, or empty
	BlockSize    int
	Quantized    paging.Cache // of quantized models; nil: none
	SubmitScale  float64      // factor on the length of submissions to the device; 0: none
	Opened       *gpu.Device  // used instead of opening Device, and left open; nil: none
}

func (s *session) info(format string, args ...any) {
	s.emit(Event{Kind: "info", Message: fmt.Sprintf(format, args...)})
}

// OpenTokenizer builds the tokenizer and the chat template that a model carries. template replaces the model's where it is not empty; without
// either, ChatML is used and named is false.
func OpenTokenizer(source *pretrained.Model, path, template string) (tok *tokenizer.Tokenizer, chatTemplate *chat.Template, named bool, err error) {
	t := source.Tokenizer()
	if t.JSON != nil {
		tok, err = tokenizer.FromJSON(t.JSON, path)
	} else {
		tok, err = tokenizer.FromVocabulary(tokenizer.Vocabulary{Model: t.Model, Pre: t.Pre, Tokens: t.Tokens, Types: t.Types, Merges: t.Merges}, path)
	}
	if err != nil {
		return nil, nil, false, err
	}
	if template == "" {
		template = t.ChatTemplate
	}
	if template == "" {
		return tok, chat.Default(), false, nil
	}
	chatTemplate, err = chat.Parse(template, map[string]string{
		"bos_token": t.BosToken, "eos_token": t.EosToken, "unk_token": t.UnkToken, "pad_token": t.PadToken,
	})
	return tok, chatTemplate, true, err
}

// openSession opens the device; check tries its kernels, before memory is counted, and load loads the model. The caller closes source and releases the session.
func openSession(ctx context.Context, o sessionOptions, source *pretrained.Model, cache Cache, emit func(Event)) (_ *session, err error) {
	s := &session{source: source, cache: cache, options: o, emit: emit, dev: o.Opened}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	var named bool
	if s.tokenizer, s.template, named, err = OpenTokenizer(source, o.Model, o.ChatTemplate); err != nil {
		return nil, err
	}
	if !named {
		s.info("The model has no chat template: conversations are written in ChatML.")
	}
	if s.dev == nil {
		if s.dev, err = gpu.Open(ctx, gpu.Options{Adapter: o.Device, SubmitScale: o.SubmitScale}); err != nil {
			return nil, err
		}
	}
	s.info("Device: %s", describeDevice(s.dev.Info))
	s.recall()
	return s, nil
}

// load puts the model where the plan says; nil: all of it on the device.
func (s *session) load(ctx context.Context, plan *paging.Plan) (err error) {
	start, o := time.Now(), s.options
	progress := func(done, total int) { s.emit(Event{Kind: "load", Load: &LoadStats{Done: done, Total: total}}) }
	progress(0, 0)
	if s.model, err = model.Load(ctx, s.dev, s.source, model.LoadOptions{BlockSize: o.BlockSize, Plan: plan, Cache: o.Quantized, Progress: progress}); err != nil {
		return s.about(err)
	}
	if o.Quantized != nil && !s.model.Store().Streams() {
		o.Quantized.Release() // all of it is on the device
	}
	shape := s.model.Shape()
	s.info("Model: %s, %.1f M parameters in %d layers, NF4 blocks of %d with double quantization, %.1f MiB (loaded in %.1f s)",
		o.Model, float64(s.model.Parameters())/1e6, shape.Layers, o.BlockSize, mib(s.model.FrozenBytes()), time.Since(start).Seconds())
	return nil
}

// about names the model in an error that is about it.
func (s *session) about(err error) error {
	if mistake := (*usererr.Error)(nil); errors.As(err, &mistake) && mistake.Path == "" {
		mistake.Path = s.options.Model
	}
	return err
}

func describeDevice(i gpu.AdapterInfo) string {
	return fmt.Sprintf("%s (%s, %s)", i.Name, i.Type, i.Backend)
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func (s *session) release() {
	if s.model != nil {
		s.model.Release()
	}
	if s.dev != nil && s.options.Opened == nil {
		s.dev.Release()
	}
}

// stopTokens end an answer: the configured end tokens and what the template writes after an assistant's turn.
func (s *session) stopTokens() (ids []int) {
	ids = append(ids, s.source.Tokens.EOS...)
	encoded, err := s.template.Encode(s.tokenizer, []chat.Message{{Role: "user", Content: "a"}, {Role: "assistant", Content: "b"}}, chat.TrainOnAssistant)
	if err != nil {
		return ids
	}
	for i := len(encoded.IDs) - 1; i >= 0; i-- {
		if encoded.Target[i] {
			if id := encoded.IDs[i]; s.tokenizer.IsSpecial(id) {
				ids = append(ids, int(id))
			}
			break
		}
	}
	return ids
}

// encoder makes samples of rows.
func (s *session) encoder(on chat.TrainOn, maxSeqLength int) dataset.Encoder {
	e := dataset.Encoder{Template: s.template, Tokenizer: s.tokenizer, TrainOn: on, MaxSeqLength: maxSeqLength, BOS: dataset.NoToken, EOS: dataset.NoToken}
	if c := s.source.Tokens; len(c.EOS) > 0 {
		e.EOS = int32(c.EOS[0])
	}
	if t := s.source.Tokenizer(); t.AddBos && s.source.Tokens.BOS >= 0 {
		e.BOS = int32(s.source.Tokens.BOS)
	}
	return e
}

// tune measures the variants that the recorded programs want, unless that was done before on this device.
func (s *session) tune(ctx context.Context) error {
	if s.options.Autotune == "off" {
		return nil
	}
	start := time.Now()
	var lines int
	err := kernels.Tune(ctx, s.dev, kernels.Tuning{
		Deadline: start.Add(tuneTime), Rejected: s.measured.rejected(), Trying: s.trying, CPU: cpuSeconds,
		Report: func(line string) {
			lines++
			s.info("%s", line)
		},
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w: autotune: %w", ErrEngineFault, err)
	}
	if lines > 0 {
		s.info("Autotune took %.1f s; the choices are cached for this device.", time.Since(start).Seconds())
		s.measured.Variants, _ = json.Marshal(s.dev.Variants)
		s.saveMeasurements()
	}
	return nil
}

const tuneTime = 20 * time.Second

// checkIDs refuses a tokenizer that gives ids the embedding has no rows for.
func (s *session) checkIDs(ids []uint32) error {
	for _, id := range ids {
		if vocab := s.source.Spec.Vocab; int(id) >= vocab {
			return fmt.Errorf("the tokenizer gives id %d, the model's vocabulary has %d", id, vocab)
		}
	}
	return nil
}

// batchInput is a dataset's micro-batch as the model takes it.
func batchInput(b dataset.Batch) model.Input {
	return model.Input{IDs: b.IDs, Positions: b.Positions, FirstKey: b.FirstKey, Targets: b.Targets}
}

// attach puts an adapter read from files on the model.
func (s *session) attach(config lora.Config, state optim.Options, tensors []lora.Tensor, where string) (*lora.Adapter, error) {
	adapter, err := lora.Attach(s.dev, s.model.Linears(), config, state)
	if err != nil {
		return nil, err
	}
	if err := adapter.SetTensors(tensors, where); err != nil {
		adapter.Detach()
		return nil, err
	}
	return adapter, nil
}
