package tokenizer

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoding is what a file's decoder makes of tokens: each one's bytes, whatever is around it, and what a text's
// beginning loses.
type decoding struct {
	steps []decodingStep
	fused bool // the steps have been joined to one text, of whose beginning up to count of strip are left out
	strip rune
	count int
}

// decodingStep changes a token. atStart is for the first one of a text; nil: the same.
type decodingStep struct{ always, atStart func(string) string }

// token is the bytes of a token as it is written in the vocabulary.
func (d *decoding) token(token string) string {
	for _, step := range d.steps {
		token = step.always(token)
	}
	return token
}

// opening is what is left out where a text begins; the zero value is for what follows other text.
type opening struct {
	first func(token string) string // of the first token, as it is written; nil: like others
	strip rune                      // up to count of these
	count int
}

func (d *decoding) opening() opening {
	o := opening{strip: d.strip, count: d.count}
	if slices.ContainsFunc(d.steps, func(step decodingStep) bool { return step.atStart != nil }) {
		o.first = func(token string) string {
			for _, step := range d.steps {
				if step.atStart != nil {
					token = step.atStart(token)
				} else {
					token = step.always(token)
				}
			}
			return token
		}
	}
	return o
}

// cut leaves out what a text's beginning loses. text is what a token decodes to.
func (o *opening) cut(token, text string) string {
	if o.first != nil {
		text, o.first = o.first(token), nil
	}
	for o.count > 0 && text != "" {
		c, n := utf8.DecodeRuneInString(text)
		if c != o.strip {
			o.count = 0
			break
		}
		o.count--
		text = text[n:]
	}
	return text
}

// fallbackByte is the byte that a token of the form <0x0A> stands for.
func fallbackByte(token string) (byte, bool) {
	if len(token) != 6 || token[:3] != "<0x" || token[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(token[3:5], 16, 8)
	return byte(b), err == nil
}

func decodeFallback(token string) string {
	if b, ok := fallbackByte(token); ok {
		return string([]byte{b})
	}
	return token
}

// addDecoder enters a component of `decoder`. What is taken can be computed token by token, apart from the beginning.
// (Of bytes that are not UTF-8 `tokenizers` makes one U+FFFD each, of the characters among them too; see validText.)
func (d *definition) addDecoder(c component, where string) error {
	step := func(f func(string) string) error {
		if d.decoding.fused {
			return unsupported(d.path, "decoder %q after Fuse", c.Type).At("%s", where)
		}
		d.decoding.steps = append(d.decoding.steps, decodingStep{always: f})
		return nil
	}
	switch c.Type {
	case "ByteLevel":
		if d.byteDecoders++; d.byteDecoders > 1 || len(d.decoding.steps) > 0 || d.decoding.fused {
			return unsupported(d.path, "decoder ByteLevel after another one").At("%s", where)
		}
		d.decoding.fused = true
		return nil
	case "Replace":
		find, err := d.finder(c, where)
		if err != nil {
			return err
		}
		if err := d.grow(len(c.contentOf()), where); err != nil {
			return err
		}
		return step(replace(find, c.contentOf()))
	case "ByteFallback":
		return step(decodeFallback)
	case "Fuse":
		d.decoding.fused = true
		return nil
	case "Metaspace":
		scheme, err := d.scheme(c, where)
		if err != nil {
			return err
		}
		replacement, err := d.metaspaceOf(c, where)
		if err != nil {
			return err
		}
		remove := func(with string) func(string) string {
			return func(token string) string { return strings.ReplaceAll(token, replacement, with) }
		}
		err = step(remove(" "))
		if err == nil && scheme != prependNever {
			d.decoding.steps[len(d.decoding.steps)-1].atStart = remove("")
		}
		return err
	case "Strip":
		return d.addStrip(c, where, step)
	}
	return nil
}

// addStrip strips each token, or behind Fuse the text, whose end is not stripped.
func (d *definition) addStrip(c component, where string, step func(func(string) string) error) error {
	content := c.contentOf()
	char, n := utf8.DecodeRuneInString(content)
	switch {
	case n == 0 || n < len(content) || c.Start < 0 || c.Stop < 0:
		return fail(d.path, "Strip with content %.40q, start %d and stop %d", content, c.Start, c.Stop).At("%s", where)
	case !d.decoding.fused:
		return step(func(token string) string {
			for range min(c.Start, len(token)) {
				token = strings.TrimPrefix(token, content)
			}
			for range min(c.Stop, len(token)) {
				token = strings.TrimSuffix(token, content)
			}
			return token
		})
	case c.Stop > 0 || d.decoding.count > 0:
		return unsupported(d.path, "Strip of a text's end, or of its beginning twice").At("%s", where)
	}
	d.decoding.strip, d.decoding.count = char, c.Start
	return nil
}
