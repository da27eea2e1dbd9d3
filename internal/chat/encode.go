package chat

import (
	"strings"

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

// Encoded is a conversation as tokens. Target[i] says that token i is to be learned.
type Encoded struct {
	IDs    []int32
	Target []bool
}

// Encode renders a conversation and marks what is to be learned: of an assistant turn its content and its end-of-turn
// token, and nothing after it. The ids are those of the whole text; a token that reaches from the prompt into the
// answer is not a target, for no prompt is followed by it. Where the template writes no special token at the end of the
// conversation's last answer, the EOS token (if the template knows one) is added and learned. BOS is what the template
// writes.
//
// The conversation is rendered up to each turn. If a template writes an earlier turn differently once others follow,
// the turn as it would be generated is not in the text, and the conversation is refused with the template's line.
func (t *Template) Encode(tok *tokenizer.Tokenizer, messages []Message, on TrainOn) (Encoded, error) {
	if len(messages) > maxMessages {
		return Encoded{}, usererr.New("apply chat template", "", "%d messages, more than %d", len(messages), maxMessages)
	}
	last := -1
	for i, m := range messages {
		if m.Role == "assistant" {
			last = i
		} else if m.Train != nil && *m.Train {
			return Encoded{}, usererr.New("apply chat template", "", "a %s turn cannot be trained on", m.Role).At("message %d", i)
		}
	}
	whole, err := t.render(messages, false)
	if err != nil {
		return Encoded{}, err
	}
	c := &conversation{t: t, tok: tok, messages: messages, whole: whole, ids: tok.Encode(whole.Text)}
	out := Encoded{IDs: c.ids, Target: make([]bool, len(c.ids))}
	closed := true
	for i, m := range messages {
		trained := m.Role == "assistant" && (m.Train == nil || *m.Train)
		switch on {
		case TrainOnLast:
			trained = trained && i == last
		case TrainOnAll:
			trained = i == last && i == len(messages)-1
		}
		if !trained {
			continue
		}
		span, err := c.turn(i)
		if err != nil {
			return Encoded{}, err
		}
		first, end := c.tokensBefore(span.start, true), c.tokensBefore(span.end, false)
		for k := first; k < end; k++ {
			out.Target[k] = true
		}
		closed = span.closed || i < len(messages)-1
	}
	if on == TrainOnAll {
		for i := range out.Target {
			out.Target[i] = true
		}
	}
	if eos, ok := tok.ID(t.eos); ok && !closed {
		out.IDs, out.Target = append(out.IDs, eos), append(out.Target, true)
	}
	return out, nil
}

// conversation is what Encode works on.
type conversation struct {
	t        *Template
	tok      *tokenizer.Tokenizer
	messages []Message
	whole    jinja.Output
	ids      []int32 // of whole
}

// span is the target of one turn in the whole text, in bytes. closed: it ends with a special token.
type span struct {
	start, end int
	closed     bool
}

// turn finds what is learned of the assistant turn i.
func (c *conversation) turn(i int) (span, error) {
	turn := c.whole
	if i < len(c.messages)-1 {
		var err error
		if turn, err = c.t.render(c.messages[:i+1], false); err != nil {
			return span{}, err
		}
	}
	start, err := c.answerStart(i, turn)
	if err != nil {
		return span{}, err
	}
	answer := turn.Text[start:]
	// What follows the turn when another answer is asked for belongs to that, not to the turn; some templates write a
	// final token only where none is asked for.
	common := len(answer)
	if next, err := c.t.render(c.messages[:i+1], true); err == nil && len(next.Text) >= start && next.Text[:start] == turn.Text[:start] {
		common = commonPrefix(answer, next.Text[start:])
	}
	end, closed := c.lastSpecial(answer[:common])
	content := strings.TrimSpace(c.messages[i].Content)
	if at := strings.Index(answer, content); !closed || at >= 0 && at+len(content) > end {
		end, closed = common, false
	}
	end += start
	if same := commonPrefix(turn.Text, c.whole.Text); same < end {
		return span{}, usererr.New("apply chat template", "", "the template writes assistant turn %d differently once other turns follow", i).
			Of(usererr.Unsupported).At("template line %d", c.whole.Line(same)).
			Hinted("train on the last turn only, or choose another chat_template")
	}
	return span{start, end, closed}, nil
}

// answerStart is where the answer of turn i begins: after the generation prompt, or, where the template has none that
// the turn begins with, where it writes the content.
func (c *conversation) answerStart(i int, turn jinja.Output) (int, error) {
	before := c.messages[:i]
	prompt, promptErr := c.t.render(before, true)
	if promptErr == nil && strings.HasPrefix(turn.Text, prompt.Text) {
		if bare, err := c.t.render(before, false); err == nil && bare.Text != prompt.Text {
			return len(prompt.Text), nil
		}
	}
	const sentinel = "\uE000\uE001answer\uE001\uE000"
	probe := append(append([]Message{}, before...), c.messages[i])
	probe[i].Content = sentinel
	probed, err := c.t.render(probe, false)
	if err == nil {
		if at := strings.Index(probed.Text, sentinel); at >= 0 && at <= len(turn.Text) && probed.Text[:at] == turn.Text[:at] {
			return at, nil
		}
	}
	if promptErr != nil {
		return 0, promptErr
	}
	return 0, usererr.New("apply chat template", "", "assistant turn %d does not begin with the text that asks for it", i).
		Of(usererr.Unsupported).At("template line %d", turn.Line(commonPrefix(prompt.Text, turn.Text))).Hinted("choose another chat_template")
}

// lastSpecial is the end of the last special token of text.
func (c *conversation) lastSpecial(text string) (end int, found bool) {
	at := 0
	for _, id := range c.tok.Encode(text) {
		token, _ := c.tok.Token(id)
		if !c.tok.IsSpecial(id) && token != c.t.eos {
			continue
		}
		if i := strings.Index(text[at:], token); i >= 0 {
			at += i + len(token)
			end, found = at, true
		}
	}
	return end, found
}

// tokensBefore counts the tokens of the whole text before a byte of it. A token across that byte is counted if across
// is set.
func (c *conversation) tokensBefore(offset int, across bool) int {
	before := c.tok.Encode(c.whole.Text[:offset])
	n := 0
	for n < len(before) && n < len(c.ids) && before[n] == c.ids[n] {
		n++
	}
	// Near the cut the tokens differ: count their bytes instead.
	left := 0
	for _, id := range before[n:] {
		left += len(c.tok.Bytes(id))
	}
	for ; n < len(c.ids) && left > 0; n++ {
		if left -= len(c.tok.Bytes(c.ids[n])); left < 0 && !across {
			return n
		}
	}
	return n
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
