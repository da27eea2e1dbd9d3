package chat

import (
	"fmt"
	"slices"
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
// The conversation is rendered up to each turn. If a template writes an earlier turn differently once others follow,
// the turn as it would be generated is not in the text, and the conversation is refused with the template's line.
//
// A template that fails on a turn without content gets an empty one; a template that fails on arguments of tool calls
// that are objects gets them as JSON texts.
func (t *Template) Encode(tok *tokenizer.Tokenizer, chat Conversation, on TrainOn) (Encoded, error) {
	if n := len(chat.Messages); n > maxMessages {
		return Encoded{}, usererr.New("apply chat template", "", "%d messages, more than %d", n, maxMessages)
	}
	last := -1
	for i, m := range chat.Messages {
		if m.Role == "assistant" {
			last = i
		} else if m.Train != nil && *m.Train {
			return Encoded{}, usererr.New("apply chat template", "", "a %s turn cannot be trained on", m.Role).At("message %d", i)
		}
	}
	chat, whole, err := t.renderWhole(chat)
	if err != nil {
		return Encoded{}, err
	}
	c := &conversation{t: t, tok: tok, Conversation: chat, whole: whole, ids: tok.Encode(whole.Text)}
	seen := c.probe()
	out := Encoded{IDs: c.ids, Target: make([]bool, len(c.ids)), Unseen: seen.missing()}
	closed := true
	for i, m := range c.Messages {
		trained := m.Role == "assistant" && (m.Train == nil || *m.Train)
		switch on {
		case TrainOnLast:
			trained = trained && i == last
		case TrainOnAll:
			trained = i == last && i == len(c.Messages)-1
		}
		if trained && on != TrainOnAll && !seen.turn(i) {
			out.NothingToLearn++
			trained = false
		}
		if !trained {
			continue
		}
		span, err := c.turn(i)
		if err != nil {
			return Encoded{}, err
		}
		end := c.tokensBefore(span.end) // which takes as long as the text is
		for k := c.tokensBefore(span.start); k < end; k++ {
			out.Target[k] = true
		}
		closed = span.closed || i < len(c.Messages)-1
	}
	if on == TrainOnAll {
		for i := range out.Target {
			out.Target[i] = true
		}
	}
	if end, ok := tok.ID(t.End); ok && !closed {
		out.IDs, out.Target = append(out.IDs, end), append(out.Target, true)
	}
	return out, nil
}

// renderWhole renders a conversation as the template can take it, and gives what it took.
func (t *Template) renderWhole(chat Conversation) (Conversation, jinja.Output, error) {
	whole, err := t.render(chat, false)
	if err == nil {
		return chat, whole, nil
	}
	filled, anyFilled := chat.withContents()
	texts, anyTexts := chat.argumentsAsText()
	both, _ := filled.argumentsAsText()
	for _, other := range []struct {
		chat    Conversation
		differs bool
	}{{filled, anyFilled}, {texts, anyTexts}, {both, anyFilled && anyTexts}} {
		if !other.differs {
			continue
		}
		if whole, again := t.render(other.chat, false); again == nil {
			return other.chat, whole, nil
		}
	}
	return chat, whole, err
}

// withContents is the conversation with an empty content where there is none.
func (c Conversation) withContents() (_ Conversation, changed bool) {
	c.Messages = slices.Clone(c.Messages)
	for i, m := range c.Messages {
		changed = changed || m.NoContent
		c.Messages[i].NoContent = false
	}
	return c, changed
}

// conversation is what Encode works on.
type conversation struct {
	Conversation
	t     *Template
	tok   *tokenizer.Tokenizer
	whole jinja.Output
	ids   []int32 // of whole
}

// upTo is the text of the first n turns.
func (c *conversation) upTo(n int, addGenerationPrompt bool) (jinja.Output, error) {
	return c.t.render(Conversation{c.Messages[:n], c.Tools}, addGenerationPrompt)
}

// span is the target of one turn in the whole text, in bytes. closed: it ends with a special token.
type span struct {
	start, end int
	closed     bool
}

// turn finds what is learned of the assistant turn i.
func (c *conversation) turn(i int) (span, error) {
	turn := c.whole
	if i < len(c.Messages)-1 {
		var err error
		if turn, err = c.upTo(i+1, false); err != nil {
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
	if next, err := c.upTo(i+1, true); err == nil && len(next.Text) >= start && next.Text[:start] == turn.Text[:start] {
		common = commonPrefix(answer, next.Text[start:])
	}
	end, closed := c.lastSpecial(answer[:common])
	content := strings.TrimSpace(c.Messages[i].Content)
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
	prompt, promptErr := c.upTo(i, true)
	if promptErr == nil && strings.HasPrefix(turn.Text, prompt.Text) {
		if bare, err := c.upTo(i, false); err == nil && bare.Text != prompt.Text {
			return len(prompt.Text), nil
		}
	}
	sentinel := fmt.Sprint(newBase(c.whole.Text))
	probe := slices.Clone(c.Messages[:i+1])
	probe[i].Content, probe[i].NoContent = sentinel, false
	probed, err := c.t.render(Conversation{probe, c.Tools}, false)
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
		if !c.tok.IsSpecial(id) && token != c.t.End {
			continue
		}
		if i := strings.Index(text[at:], token); i >= 0 {
			at += i + len(token)
			end, found = at, true
		}
	}
	return end, found
}

// tokensBefore counts the tokens of the whole text that end before a byte of it.
func (c *conversation) tokensBefore(offset int) int {
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
		if left -= len(c.tok.Bytes(c.ids[n])); left < 0 {
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
