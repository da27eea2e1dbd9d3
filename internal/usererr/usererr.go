// Package usererr is the shape of every error that a user can cause: what was attempted, on which file and where
// in it, why it failed, and a way out. The command line prints it and exits with status 2.
package usererr

import (
	"errors"
	"fmt"
	"strings"
)

// Kind sorts mistakes by what the user can do about them.
type Kind uint8

const (
	// Invalid: a setting or an input has a wrong value.
	Invalid Kind = iota
	// Format: a file does not follow its format (damaged, truncated, or not that format at all).
	Format
	// Unsupported: the file is valid, this program does not handle what it holds.
	Unsupported
)

// Input is the part of what the user gave that a mistake is in, for whoever shows an error beside it.
type Input string

// Data is the data set.
const Data Input = "data"

// Error names the operation ("read safetensors"), the file, the place in it ("offset 24", "line 7"), the reason and a
// hint.
type Error struct {
	Kind  Kind
	Op    string
	Path  string // file or folder, empty when there is none
	Where string // place in the file, empty when there is none
	Err   error
	Hint  string // one sentence that starts in lower case, empty when there is no way out
	Input Input  // empty when nobody needs to know
}

// Error is "op path: where: [unsupported: ]reason (hint)", as OneLine has it.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Path != "" {
		b.WriteString(" " + e.Path)
	}
	b.WriteString(": ")
	if e.Where != "" {
		b.WriteString(e.Where + ": ")
	}
	switch e.Kind {
	case Format:
		b.WriteString("bad format: ")
	case Unsupported:
		b.WriteString("unsupported: ")
	}
	fmt.Fprintf(&b, "%v", e.Err)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return OneLine(b.String())
}

// Unwrap gives the reason to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// New is an Invalid error with a formatted reason. Errors among the arguments are said as Plain says them.
func New(op, path, format string, args ...any) *Error {
	for i, arg := range args {
		if err, ok := arg.(error); ok && err != nil {
			args[i] = Plain(err)
		}
	}
	return &Error{Op: op, Path: path, Err: fmt.Errorf(format, args...)}
}

// At adds the place in the file.
func (e *Error) At(format string, args ...any) *Error {
	e.Where = fmt.Sprintf(format, args...)
	return e
}

// Of sets the kind.
func (e *Error) Of(kind Kind) *Error {
	e.Kind = kind
	return e
}

// Hinted adds the way out.
func (e *Error) Hinted(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// In sets the input that the mistake is in.
func (e *Error) In(input Input) *Error {
	e.Input = input
	return e
}

// In sets the input that the mistake is in, if err is, or wraps, an Error.
func In(err error, input Input) error {
	var e *Error
	if errors.As(err, &e) {
		e.Input = input
	}
	return err
}

// Is reports whether err is, or wraps, an Error of this kind.
func Is(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}
