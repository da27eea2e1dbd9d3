package tokenizer

import "unicode/utf8"

// Stream decodes ids one at a time, as they are sampled. What it has returned, joined, equals [Tokenizer.Decode].
type Stream struct {
	t    *Tokenizer
	held string // the start of a character whose end is still to come
}

// Stream starts an incremental decoder.
func (t *Tokenizer) Stream() *Stream { return &Stream{t: t} }

// Push gives the text that id completes; a character cut between tokens is held back until it is whole.
func (s *Stream) Push(id int32) string {
	b := s.held + s.t.Bytes(id)
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
