package trainer

import (
	"context"
	"strings"
	"time"

	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/settings"
)

// Prompts are answered by the base model before the first step, then every so many steps and after the last one, each
// time with the likeliest tokens. What is trained does not depend on them.
type Prompts struct {
	Texts     []string
	Every     int // steps; 0: after the last one only
	MaxTokens int // of an answer
}

// prompts are a run's, in tokens.
type prompts struct {
	asked    []processor.Prompt
	answered int // step of the last answers
}

// prepareAnswers reserves the memory for the run's prompts.
func (r *run) prepareAnswers() error {
	p := r.in.Prompts
	if err := settings.Within("prompts' every", p.Every, 0, 1<<31-1); err != nil {
		return err
	}
	if len(p.Texts) == 0 {
		return nil
	}
	if err := settings.Within("prompts' max_tokens", p.MaxTokens, 1, 1<<20); err != nil {
		return err
	}
	most := 0
	for _, text := range p.Texts {
		asked, err := r.text.Prompt(text, "", false)
		if err != nil {
			return err
		}
		r.prompts.asked = append(r.prompts.asked, asked)
		most = max(most, len(asked.IDs))
	}
	return r.engine.ReserveAnswers(most + p.MaxTokens)
}

// answersDue tells whether the prompts are to be answered, or the probabilities told, after this step.
func (r *run) answersDue() bool {
	step, n := r.state.Step, r.in.Prompts.Every
	return (len(r.prompts.asked) > 0 || r.in.Watch) && step != r.prompts.answered && (step >= r.loader.TotalSteps || n > 0 && step%n == 0)
}

// answer answers the prompts after a step.
func (r *run) answer(ctx context.Context) error {
	answers, err := r.answers(ctx, r.state.Step)
	if err != nil {
		return err
	}
	for _, answer := range answers {
		r.log.add(answer)
	}
	r.prompts.answered = r.state.Step
	return nil
}

// baseAnswers are the base model's: the adapter's B is zero until a checkpoint is restored or the first step is done.
func (r *run) baseAnswers(ctx context.Context) ([]events.Answer, error) { return r.answers(ctx, 0) }

func (r *run) answers(ctx context.Context, step int) (all []events.Answer, err error) {
	likeliest := settings.Sampling{MaxTokens: r.in.Prompts.MaxTokens, TopP: 1}
	now := events.Answering{Part: events.Part{Total: int64(len(r.prompts.asked))}, Step: step}
	for i, prompt := range r.prompts.asked {
		var text strings.Builder
		now.Done, now.Prompt, now.Text = int64(i), r.in.Prompts.Texts[i], ""
		r.emit(now)
		told := time.Now()
		err := answer.Text(ctx, r.engine.Generator(), r.text, prompt, likeliest, func(piece string) error {
			text.WriteString(piece)
			if time.Since(told) >= answeringEvery {
				now.Text = strings.TrimSpace(text.String())
				r.emit(now)
				told = time.Now()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		a := events.Answer{Step: step, Prompt: r.in.Prompts.Texts[i], Answer: strings.TrimSpace(text.String())}
		r.emit(a)
		all = append(all, a)
	}
	if len(all) > 0 {
		now.Done, now.Prompt, now.Text = now.Total, "", ""
		r.emit(now)
	}
	return all, r.tellProbabilities(ctx, step)
}

// answeringEvery is the least time between two tellings of an answer's text so far.
const answeringEvery = 200 * time.Millisecond
