package inspect

import (
	"errors"
	"hash/maphash"
	"slices"
	"strings"
	"unicode/utf8"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/usererr"
)

// Look is what is to be said of a row alone.
type Look struct {
	row     dataset.Row
	encoded *dataset.Encoded // nil: without a model, or the template refuses it
	kept    bool             // it becomes a sample
	hits    []hit            // each once
	exact   uint64
	answer  uint64
	sketch  sketch
	length  uint32
}

// hit is something that was found in a row.
type hit struct{ kind, what string }

func (l *Look) hit(kind, what string) {
	if h := (hit{kind, what}); !slices.Contains(l.hits, h) {
		l.hits = append(l.hits, h)
	}
}

// Look looks at a row; index is its place in its source. It may be called by several goroutines at a time.
func (i *Inspector) Look(row dataset.Row, index int) Look {
	l := Look{row: row}
	if i.o.Text == nil {
		if reason := row.Empty(i.o.TrainOn); reason != "" {
			l.hit(kindLeftOut, reason)
			return l
		}
		l.length = uint32(min(charactersOf(row), refused-1))
	} else if !i.encode(&l, index) {
		return l
	}
	l.kept = true
	i.texts(&l)
	l.turns()
	l.answers()
	l.identify()
	if !i.brief {
		l.sketch = sketchOf(wordsOf(row), i.common)
	}
	return l
}

// encode makes samples of a row, and tells whether there are any.
func (i *Inspector) encode(l *Look, index int) bool {
	encoded, err := i.encoder.Row(l.row, index)
	if err != nil {
		l.hit(kindRefused, brief(err))
		l.length = refused
		return false
	}
	l.encoded = &encoded
	var one dataset.Report
	one.Add(l.row, encoded)
	l.length = uint32(min(one.Longest, refused-1))
	for _, drop := range one.Dropped {
		l.hit(kindLeftOut, drop.Reason)
		return false
	}
	for _, unseen := range one.Unseen {
		l.hit(kindUnseen, unseen.What)
	}
	if one.NothingToLearn != nil {
		l.hit(kindEmptyAnswer, "")
	}
	switch {
	case one.AnswersCut > 0, one.Rewritten != nil && one.Rewritten.Lost > 0:
		l.hit(kindCutAnswer, "")
	case one.Truncated > 0:
		l.hit(kindCut, "")
	}
	return true
}

// brief is why the template refuses a row, and not where.
func brief(err error) string {
	if e, ok := errors.AsType[*usererr.Error](err); ok {
		err = e.Err
	}
	const most = 160
	text := []rune(usererr.OneLine(err.Error()))
	if len(text) > most {
		text = append(text[:most], '…')
	}
	return string(text)
}

// charactersOf counts those of a row's texts.
func charactersOf(row dataset.Row) int {
	n := utf8.RuneCountInString(row.Text)
	for _, m := range row.Messages {
		n += utf8.RuneCountInString(m.Content)
	}
	return n
}

// seed is of the hashes that tell rows apart, which nobody outside can aim at.
var seed = maphash.MakeSeed()

// identify hashes all that tells a row from others.
func (l *Look) identify() {
	var h maphash.Hash
	h.SetSeed(seed)
	part := func(text string) {
		_, _ = h.WriteString(text) // it never fails
		_ = h.WriteByte(0xff)      // which no text has
	}
	part(l.row.Text)
	part(string(l.row.Tools))
	part(string(l.row.TemplateArgs))
	for _, m := range l.row.Messages {
		part(m.Role)
		part(m.Content)
		for _, f := range m.Fields {
			part(f.Name)
			part(string(f.Value))
		}
		if m.Train != nil && !*m.Train {
			part("not learned")
		}
	}
	l.exact = max(1, h.Sum64())
}

// wordsOf are those by which rows are like each other nearly: of all that was said, and of what else answers hold. What
// the system says is left out.
func wordsOf(row dataset.Row) []uint64 {
	words := appendWords(nil, row.Text)
	for _, m := range row.Messages {
		if isSystem(m) {
			continue
		}
		words = appendWords(words, m.Content)
		if isAssistant(m) {
			for _, f := range m.Fields {
				words = appendWords(words, string(f.Value))
			}
		}
	}
	return words
}

// leastAnswer is the words of an answer from which on it is no label, of which many rows share each.
const leastAnswer = 6

// answers looks at what is learned of a conversation.
func (l *Look) answers() {
	asked := ""
	for _, m := range l.row.Messages {
		text := strings.TrimSpace(m.Content)
		if m.Role == "user" {
			if asked = text; text == "" && len(m.Fields) == 0 && len(l.row.LeftOut) == 0 {
				l.hit(kindEmptyAsk, "")
			}
			continue
		}
		if !isAssistant(m) {
			continue
		}
		if text == "" {
			if len(m.Fields) == 0 {
				l.hit(kindEmptyAnswer, "")
			}
			continue
		}
		if len(text) != len(m.Content) {
			l.hit(kindAround, "")
		}
		if strings.EqualFold(text, asked) {
			l.hit(kindEcho, "")
		}
		words := appendWords(nil, text)
		if repeats(words) {
			l.hit(kindRepetitive, "")
		}
		if l.answer = 0; len(words) >= leastAnswer {
			l.answer = max(1, maphash.String(seed, text))
		}
	}
}

const (
	longestUnit   = 32 // words that are said again and again
	leastRepeats  = 4
	leastRepeated = 12 // words in all
)

// repeats tells whether more than half of an answer is the same few words again and again.
func repeats(words []uint64) bool {
	for unit := 1; unit <= min(longestUnit, len(words)/leastRepeats); unit++ {
		run := 0
		for i := unit; i < len(words); i++ {
			if words[i] != words[i-unit] {
				run = 0
				continue
			}
			run++
			if whole := run + unit; whole >= max(leastRepeats*unit, leastRepeated) && whole*2 > len(words) {
				return true
			}
		}
	}
	return false
}

// turns looks at who speaks after whom.
func (l *Look) turns() {
	before := ""
	for i, m := range l.row.Messages {
		switch {
		case isSystem(m):
			if i > 0 {
				l.hit(kindSystem, "")
				continue // the others are looked at without it
			}
		case m.Role == "user" && before == "user":
			l.hit(kindUsers, "")
		case isAssistant(m) && before == "assistant":
			l.hit(kindAnswers, "")
		case isAssistant(m) && before != "user" && before != "tool":
			l.hit(kindBegin, "")
		case m.Role == "tool" && before != "assistant" && before != "tool":
			l.hit(kindToolTurn, "")
		}
		before = m.Role
	}
	if len(l.row.Messages) > 0 && before != "assistant" {
		l.hit(kindNoEnd, "")
	}
}

func isAssistant(m chat.Message) bool { return m.Role == "assistant" }

func isSystem(m chat.Message) bool { return m.Role == "system" || m.Role == "developer" }
