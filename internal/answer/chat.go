package answer

import (
	"context"
	"errors"
	"math/bits"
	"strings"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// Chat gives the assistant's next turn in a conversation to write, piece by piece: whole characters each, and what the
// model says without the template's marks. What the conversation has in common with the one before, on the same side
// of the adapter, is not computed again. A cancelled ctx is heard between tokens: the turn ends there, and the
// conversation can go on from what write got.
//
// The result tells how the turn ended, also beside an error. Errors are *usererr.Error for settings out of their range
// and for a conversation that the template does not take or that has no room in the model, write's, ctx's, and the
// device's.
func (a *Answerer) Chat(
	ctx context.Context, messages []chat.Message, sampling settings.Sampling, write func(piece string) error,
) (Result, error) {
	if err := sampling.Check(); err != nil {
		return Result{}, err
	}
	prompt, err := a.processor.Conversation(messages)
	if err != nil {
		return Result{}, err
	}
	if err := a.readyToChat(ctx, len(prompt.IDs)+sampling.MaxTokens); err != nil {
		result := Result{PromptTokens: len(prompt.IDs)}
		if ctx.Err() != nil {
			result.End = EndCancelled
		}
		return result, err
	}
	return speak(ctx, a.side().Generator(), a.processor, prompt, sampling, write)
}

// readyToChat takes the memory for so many tokens. Conversations grow, and taking more forgets what was computed: it is
// doubled each time, or, where the budget does not allow that, as large as it has to be.
func (a *Answerer) readyToChat(ctx context.Context, tokens int) error {
	least := a.room(tokens, roomStep)
	ample := a.room(tokens, roomStep<<bits.Len(uint((least-1)/roomStep)))
	err := a.ready(ctx, engine.Demand{AnswerTokens: ample})
	if ample > least && errors.As(err, new(*usererr.Error)) {
		err = a.ready(ctx, engine.Demand{AnswerTokens: least})
	}
	return err
}

// Text decodes what follows the prompt and gives it to write, piece by piece. Nothing that the generator holds is used:
// the answer depends on prompt and weights alone.
func Text(
	ctx context.Context, g *engine.Generator, p *processor.Processor, prompt processor.Prompt, sampling settings.Sampling,
	write func(piece string) error,
) error {
	g.Forget()
	_, err := speak(ctx, g, p, prompt, sampling, write)
	return err
}

// speak decodes what follows the prompt.
func speak(
	ctx context.Context, g *engine.Generator, p *processor.Processor, prompt processor.Prompt, sampling settings.Sampling,
	write func(piece string) error,
) (Result, error) {
	stream := p.Tokenizer.Continuation()
	open := prompt.Open
	var failed error
	push := func(piece string) {
		if piece != "" && open != "" { // the answer's first text repeats it
			piece, open = strings.TrimPrefix(piece, open), ""
		}
		failed = write(piece)
	}
	result, err := Continue(ctx, g, Sampling{sampling, p.StopTokens()}, prompt.IDs, func(id uint32) bool {
		push(stream.Push(int32(id)))
		return failed == nil
	})
	if err == nil && failed == nil {
		push(stream.Flush())
	}
	return result, errors.Join(err, failed)
}
