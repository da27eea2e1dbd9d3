package main

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"

	"qlora-wgpu/internal/usererr"
)

// printable passes text on to a terminal with what would act on it escaped: file names, templates and models may hold
// anything. Line breaks and tabs stay. Bytes of a character that is not complete wait for the rest.
type printable struct {
	out     io.Writer
	waiting []byte
}

func (p *printable) Write(text []byte) (int, error) {
	all := append(p.waiting, text...)
	p.waiting = nil
	var escaped bytes.Buffer
	for len(all) > 0 {
		if !utf8.FullRune(all) {
			p.waiting = bytes.Clone(all)
			break
		}
		r, n := utf8.DecodeRune(all)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&escaped, `\x%02x`, all[0])
		case usererr.Hidden(r):
			escaped.WriteString(usererr.Escape(r))
		default:
			escaped.Write(all[:n])
		}
		all = all[n:]
	}
	if _, err := p.out.Write(escaped.Bytes()); err != nil {
		return 0, err
	}
	return len(text), nil
}

// bare is what a printable writes to, for a progress bar, which goes back on its line, and for a child process, which
// has escaped what it says.
func bare(w io.Writer) io.Writer {
	if p, ok := w.(*printable); ok {
		return p.out
	}
	return w
}

// warn says a warning on a line.
func (c *console) warn(text string) {
	fmt.Fprintln(c.stderr, "warning:", usererr.OneLine(text))
}
