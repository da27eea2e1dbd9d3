package trainer

import (
	"context"
	"errors"
	"strings"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// GenerateOptions are the settings of one answer.
type GenerateOptions struct {
	Model, Adapter    string
	Prompt, System    string
	Raw               bool // no chat template
	MaxTokens         int
	Temperature, TopP float64
	Seed              uint64
	ChatTemplate      string
	BlockSize         int
	Device, Autotune  string
	CacheDir          string // empty: under the user's cache folder
	VRAMBudget        string // device memory; empty: as much as it takes, with all weights on the device
}

func (o GenerateOptions) validate() error {
	for _, err := range []error{
		within("max_tokens", o.MaxTokens, 1, 1<<20), within("temperature", o.Temperature, 0, 100), within("top_p", o.TopP, 0, 1),
		blockSize("block_size", o.BlockSize),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// Answerer answers prompts and measures losses with one loaded model.
type Answerer struct {
	session   *session
	files     *AdapterFiles // nil: the base model
	adapter   *lora.Adapter
	engine    *Engine
	generator *Generator
	options   GenerateOptions
	budget    int64    // 0: none
	extent    extent   // that memory was taken for
	owned     []func() // close the model's files and the cache, where nobody else does
}

// NewAnswerer loads the model of in, or with a budget has the first question do so, on in.Opened or on the device that the options name, with in.Adapter where there is one. Of the options, Prompt
// and the paths are not used; Model names the model in messages.
func NewAnswerer(ctx context.Context, o GenerateOptions, in Inputs, emit func(Event)) (_ *Answerer, err error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	a := &Answerer{options: o, files: in.Adapter}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if a.session, err = openSession(ctx, sessionOptions{
		Model: o.Model, Device: o.Device, Autotune: o.Autotune, ChatTemplate: in.ChatTemplate, BlockSize: o.BlockSize, Quantized: in.Quantized, Opened: in.Opened,
	}, in.Model, in.Cache, emit); err != nil {
		return nil, err
	}
	if a.budget, err = givenBudget(o.VRAMBudget, a.session.dev, in); err != nil || a.budget > 0 {
		return a, err
	}
	return a, a.place(ctx, extent{})
}

// Close frees everything.
func (a *Answerer) Close() {
	a.unload()
	if a.session != nil {
		a.session.release()
	}
	closeAll(a.owned)
}

func closeAll(owned []func()) {
	for _, release := range owned {
		release()
	}
}

// Answer generates the answer to one prompt.
func (a *Answerer) Answer(ctx context.Context, prompt string, write func(piece string) error) error {
	o, s := a.options, a.session
	ids, err := s.promptIDs(prompt, o.System, o.Raw)
	if err != nil {
		return err
	}
	room := min(len(ids)+o.MaxTokens, s.source.Spec.MaxPositions)
	if err := a.place(ctx, extent{room: (room + 255) / 256 * 256}); err != nil {
		return err
	}
	if a.generator == nil || a.generator.cache.K[0].Rows < room {
		if a.generator != nil {
			a.generator.Release()
			a.generator = nil
		}
		if a.generator, err = a.engine.NewGenerator((room + 255) / 256 * 256); err != nil {
			return err
		}
	}
	return s.answer(ctx, a.generator, ids, Sampling{MaxTokens: o.MaxTokens, Temperature: o.Temperature, TopP: o.TopP, Seed: o.Seed, Stop: s.stopTokens()}, write)
}

// Evaluate gives the mean loss over the target tokens of a data set: the answers', or with all every token's. maxSeqLength 0 means the model's limit.
func (a *Answerer) Evaluate(ctx context.Context, data *dataset.Source, maxSeqLength int, all bool) (*EvalStats, error) {
	s := a.session
	on := chat.TrainOnAssistant
	if all {
		on = chat.TrainOnAll
	}
	limit := s.source.Spec.MaxPositions
	if maxSeqLength > 0 {
		limit = min(limit, maxSeqLength)
	}
	samples, _, err := s.encoder(on, limit).Encode(data)
	if err != nil {
		return nil, err
	}
	for _, sample := range samples {
		if err := s.checkIDs(sample.IDs); err != nil {
			return nil, usererr.New("encode data set", data.Path, "%w", err).Hinted("tokenizer and weights belong to different models")
		}
	}
	if err := a.place(ctx, extent{evalTokens: longest(samples)}); err != nil {
		return nil, err
	}
	if err := a.engine.ReserveEvaluation(longest(samples)); err != nil {
		return nil, err
	}
	if err := s.tune(ctx); err != nil {
		return nil, err
	}
	stats, err := a.engine.evaluateSamples(ctx, samples)
	if err == nil && !isFinite(stats.Perplexity) {
		return nil, usererr.New("evaluate", data.Path, "the loss is %v", stats.Loss).Hinted("the adapter may be damaged; `qlora-wgpu check` tests the device")
	}
	return stats, err
}

// promptIDs are the tokens of a prompt: as a user's turn in the chat template, after a system turn where there is one, or raw as it stands.
func (s *session) promptIDs(prompt, system string, raw bool) ([]uint32, error) {
	text := prompt
	if !raw {
		var messages []chat.Message
		if system != "" {
			messages = append(messages, chat.Message{Role: "system", Content: system})
		}
		var err error
		if text, err = s.template.Render(append(messages, chat.Message{Role: "user", Content: prompt}), true); err != nil {
			return nil, err
		}
	}
	var ids []uint32
	if bos := s.source.Tokens.BOS; raw && s.source.Tokenizer().AddBos && bos >= 0 {
		ids = append(ids, uint32(bos))
	}
	for _, id := range s.tokenizer.Encode(text) {
		ids = append(ids, uint32(id))
	}
	if err := s.checkIDs(ids); err != nil {
		return nil, usererr.New("generate", s.options.Model, "%w", err).Hinted("tokenizer and weights belong to different models")
	}
	if limit := s.source.Spec.MaxPositions; len(ids) >= limit {
		return nil, usererr.New("generate", "", "the prompt has %d tokens, the model holds %d", len(ids), limit)
	}
	return ids, nil
}

// answer decodes what follows the prompt's ids and gives it to write piece by piece.
func (s *session) answer(ctx context.Context, g *Generator, ids []uint32, sampling Sampling, write func(piece string) error) error {
	stream := s.tokenizer.Stream()
	var failed error
	err := g.Generate(ctx, ids, sampling, func(id uint32) bool {
		failed = write(stream.Push(int32(id)))
		return failed == nil
	})
	if err == nil && failed == nil {
		failed = write(stream.Flush())
	}
	return errors.Join(err, failed)
}

// prepareAnswers reserves the memory for the run's prompts.
func (r *run) prepareAnswers() (err error) {
	if len(r.prompts.Texts) == 0 {
		return nil
	}
	for _, err := range []error{within("prompts' max_tokens", r.prompts.MaxTokens, 1, 1<<20), within("prompts' every", r.prompts.Every, 0, 1<<31-1)} {
		if err != nil {
			return err
		}
	}
	most := 0
	for _, prompt := range r.prompts.Texts {
		ids, err := r.session.promptIDs(prompt, "", false)
		if err != nil {
			return err
		}
		most = max(most, len(ids))
	}
	r.generator, err = r.engine.NewGenerator(most + r.prompts.MaxTokens)
	return err
}

// answersDue tells whether the prompts are to be answered after this step.
func (r *run) answersDue() bool {
	step, n := r.state.Step, r.prompts.Every
	return r.generator != nil && step != r.answered && (step >= r.totalSteps || n > 0 && step%n == 0)
}

// answer answers the prompts after a step.
func (r *run) answer(ctx context.Context) error {
	answers, err := r.answers(ctx, r.state.Step)
	if err != nil {
		return err
	}
	for _, answer := range answers {
		if err := r.logLine(answer); err != nil {
			return err
		}
	}
	r.answered = r.state.Step
	return nil
}

// baseAnswers are the base model's: the adapter's B is zero until a checkpoint is restored or the first step is done.
func (r *run) baseAnswers(ctx context.Context) ([]AnswerStats, error) {
	if r.generator == nil {
		return nil, nil
	}
	return r.answers(ctx, 0)
}

func (r *run) answers(ctx context.Context, step int) (all []AnswerStats, err error) {
	s := r.session
	sampling := Sampling{MaxTokens: r.prompts.MaxTokens, TopP: 1, Stop: s.stopTokens()}
	for _, prompt := range r.prompts.Texts {
		ids, err := s.promptIDs(prompt, "", false)
		if err != nil {
			return nil, err
		}
		var text strings.Builder
		if err := s.answer(ctx, r.generator, ids, sampling, func(piece string) error { text.WriteString(piece); return nil }); err != nil {
			return nil, err
		}
		a := AnswerStats{Step: step, Prompt: prompt, Answer: strings.TrimSpace(text.String())}
		s.emit(Event{Kind: "answer", Answer: &a})
		all = append(all, a)
	}
	return all, nil
}
