package chat

import (
	"errors"
	"slices"

	"qlora-wgpu/internal/chat/jinja"
	"qlora-wgpu/internal/tokenizer"
	"qlora-wgpu/internal/usererr"
)

// TrainOn says which turns are training targets.
type TrainOn int

const (
	TrainOnAssistant TrainOn = iota // every assistant turn whose Train is not false
	TrainOnLast                     // the last assistant turn only
	TrainOnAll                      // every token of the conversation
)

// maxMessages bounds the work: every trained turn is rendered with all turns before it.
const maxMessages = 4096

// Sample is a conversation, or the first turns of one, as tokens. Target[i] says that token i is to be learned.
type Sample struct {
	IDs    []int32
	Target []bool
	Turns  int // messages of the conversation that it is the text of
}

// Encoded is a conversation as samples.
type Encoded struct {
	// One; where the template writes earlier turns differently once others follow, one for each turn that is learned.
	Samples []Sample
	// Rewritten: that is so.
	Rewritten bool
	// Unseen names what the template does not show of the conversation: "tools", "tool calls", "reasoning", …
	Unseen []string
	// NothingToLearn counts assistant turns that would have been learned, had they anything that the template shows.
	NothingToLearn int
}

// Encode renders a conversation and marks what is to be learned: of an assistant turn its content and its end-of-turn
// token, and nothing after it. The ids are those of the whole text; a token that reaches from the prompt into the
// answer is a target. A turn of which nothing shows, for it is empty or the template leaves out what it holds, is none.
// Where the template writes no special token at the end of the conversation's last answer, the End token (if there is
// one) is added and learned. BOS is what the template writes.
//
// A template with {% generation %} marks says itself what an assistant has written: that is what is learned of a turn,
// as in transformers (return_assistant_tokens_mask), and nothing is added.
//
// The conversation is rendered up to each turn. If a template writes an earlier turn differently once others follow, as
// those do that leave out earlier thoughts, what the model saw and wrote then is not in the text of the whole: each
// learned turn becomes a sample of its own, the text up to it.
//
// A template that fails on a turn without content gets an empty one; a template that fails on arguments of tool calls
// that are objects gets them as JSON texts.
func (t *Template) Encode(tok *tokenizer.Tokenizer, chat Conversation, on TrainOn) (Encoded, error) {
	out, err := t.encode(tok, chat, on)
	var mistake *usererr.Error
	if t.ForTraining && errors.As(err, &mistake) && mistake.Hint != "" {
		mistake.Hint += "; its family has one for training: chat_template training"
	}
	return out, err
}

func (t *Template) encode(tok *tokenizer.Tokenizer, chat Conversation, on TrainOn) (Encoded, error) {
	if n := len(chat.Messages); n > maxMessages {
		return Encoded{}, usererr.New("apply chat template", "", "%d messages, more than %d", n, maxMessages)
	}
	for i, m := range chat.Messages {
		if m.Role != "assistant" && m.Train != nil && *m.Train {
			return Encoded{}, usererr.New("apply chat template", "", "a %s turn cannot be trained on", m.Role).At("message %d", i)
		}
	}
	chat, whole, err := t.renderWhole(chat)
	if err != nil {
		return Encoded{}, err
	}
	c := &conversation{t: t, tok: tok, Conversation: chat}
	c.whole = c.text(whole)
	c.seen = c.probe(c.Conversation, c.whole.Text)
	learn := func() (Encoded, error) { return c.learn(on) }
	if on == TrainOnAll {
		learn = c.all
	}
	out, err := learn()
	out.Unseen = append(out.Unseen, t.unusedBy(chat)...)
	return out, err
}

// conversation is what Encode works on.
type conversation struct {
	Conversation
	t     *Template
	tok   *tokenizer.Tokenizer
	whole *text
	seen  seen
}

// upTo is the text of the first n turns.
func (c *conversation) upTo(n int, addGenerationPrompt bool) (jinja.Output, error) {
	return c.t.render(c.of(c.Messages[:n]), addGenerationPrompt)
}

// of is the conversation with other turns.
func (c Conversation) of(turns []Message) Conversation {
	c.Messages = turns
	return c
}

// all makes every token a target.
func (c *conversation) all() (Encoded, error) {
	one := c.whole.sample(len(c.Messages))
	for i := range one.Target {
		one.Target[i] = true
	}
	if last := len(c.Messages) - 1; last >= 0 && isAssistant(c.Messages[last]) && c.Messages[last].trained() {
		a, err := c.turn(last, c.whole.Output)
		if err != nil {
			return Encoded{}, err
		}
		c.close(&one, a, len(c.Messages))
	}
	return Encoded{Samples: []Sample{one}, Unseen: c.seen.missing()}, nil
}

// learn makes targets of what the turns hold that are learned.
func (c *conversation) learn(on TrainOn) (out Encoded, err error) {
	var answers []answer
	every, kept := true, true
	for i, m := range c.Messages {
		if !isAssistant(m) {
			continue
		}
		if !m.trained() || on == TrainOnLast && slices.ContainsFunc(c.Messages[i+1:], isAssistant) {
			every = false
			continue
		}
		text, err := c.upToAnswer(i)
		if err != nil {
			return out, err
		}
		a, err := c.answer(i, text)
		if err != nil {
			return out, err
		}
		if len(a.parts) == 0 {
			out.NothingToLearn++
			continue
		}
		a.stays = c.staysUpTo(a, text)
		kept = kept && commonPrefix(text.Text, c.whole.Text) >= a.stays
		answers = append(answers, a)
	}
	if out.Rewritten = !kept; out.Rewritten {
		if out.Samples, err = c.apart(answers); err != nil {
			return out, err
		}
	} else {
		out.Samples = []Sample{c.together(answers, every)}
	}
	out.Unseen = c.seen.missing()
	return out, nil
}

// together makes a sample of all answers; every says that they are all that the conversation has.
func (c *conversation) together(answers []answer, every bool) Sample {
	one := c.whole.sample(len(c.Messages))
	if c.whole.Marked && every {
		c.whole.learn(&one, c.whole.Generated)
		return one
	}
	for _, a := range answers {
		for _, part := range a.parts {
			c.whole.learn(&one, []jinja.Span{{Start: min(part.Start, a.stays), End: min(part.End, a.stays)}})
		}
	}
	if n := len(answers); n > 0 {
		c.close(&one, answers[n-1], len(c.Messages))
	}
	return one
}

// maxApart bounds the texts of a conversation's samples, in bytes: each holds all that was said before.
const maxApart = 128 << 20

// apart makes a sample of each answer, which is the conversation up to it.
func (c *conversation) apart(answers []answer) (all []Sample, err error) {
	size := 0
	for _, a := range answers {
		size += a.size
	}
	if size > maxApart {
		return nil, usererr.New("apply chat template", "", "the template writes earlier turns differently once others follow, and %d answers, "+
			"each behind all that was said before, have %d bytes, more than %d", len(answers), size, maxApart).
			Of(usererr.Unsupported).Hinted("train on the last turn only, or make several conversations of it")
	}
	for _, a := range answers {
		out, err := c.upToAnswer(a.turn)
		if err != nil {
			return nil, err
		}
		c.seen.also(c.probe(c.of(c.Messages[:a.turn+1]), out.Text))
		text := c.text(out)
		one := text.sample(a.turn + 1)
		a.parts[0].Start = min(a.parts[0].Start, a.begin)
		text.learn(&one, a.parts)
		c.close(&one, a, a.turn+1)
		all = append(all, one)
	}
	return all, nil
}

// close adds the End token, which is learned, where the last of so many turns has no special one at its end.
func (c *conversation) close(one *Sample, last answer, turns int) {
	if last.closed || last.turn < turns-1 {
		return
	}
	if end, ok := c.tok.ID(c.t.End); ok {
		one.IDs, one.Target = append(slices.Clip(one.IDs), end), append(one.Target, true)
	}
}

func isAssistant(m Message) bool { return m.Role == "assistant" }

// trained tells whether an assistant's turn is to be learned.
func (m Message) trained() bool { return m.Train == nil || *m.Train }
