package tokenizer

import "unicode/utf8"

// Stream decodes ids one at a time, as they are sampled.
type Stream struct {
	t    *Tokenizer
	held string // the start of a character whose end is still to come
	opening
}

// Stream starts an incremental decoder. What it has returned, joined, equals [Tokenizer.Decode].
func (t *Tokenizer) Stream() *Stream { return &Stream{t: t, opening: t.opening} }

// Continuation starts an incremental decoder of ids that follow others, as [Tokenizer.DecodeContinuation] does.
func (t *Tokenizer) Continuation() *Stream { return &Stream{t: t} }

// Push gives the text that id completes; a character cut between tokens is held back until it is whole.
func (s *Stream) Push(id int32) string {
	token, ok := s.t.Token(id)
	if !ok {
		return ""
	}
	b := s.held + s.cut(token, s.t.bytes[id])
	whole := len(b)
	for back := 1; back < utf8.UTFMax && back <= len(b); back++ {
		if incompleteRune(b[len(b)-back:]) == back {
			whole = len(b) - back
			break
		}
	}
	s.held = b[whole:]
	return validText(b[:whole])
}

// Flush ends the text: a character that is still incomplete becomes U+FFFD.
func (s *Stream) Flush() string {
	b := s.held
	s.held = ""
	return validText(b)
}
