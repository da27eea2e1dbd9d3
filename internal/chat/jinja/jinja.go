// Package jinja renders chat templates: the part of the Jinja2 language that they are written in, set up as Hugging
// Face's transformers does (trim_blocks, lstrip_blocks, a sandbox in which nothing is changed in place,
// raise_exception, strftime_now, a plain tojson). Templates come from strangers: there is no access to files, and the
// nesting, the steps, the bytes that values take and the output are bounded. What is not supported is refused by name
// with its line.
package jinja

import (
	"fmt"
	"strings"
	"time"
)

// Limits of one template and of one rendering, which reaches them within a second; the largest templates in use have
// 20 KB and take some thousand steps. See [budget].
const (
	maxSource = 1 << 20   // bytes
	maxNodes  = 1 << 17   // of the syntax tree
	maxName   = 200       // bytes of a name
	maxNest   = 200       // brackets, blocks and operators within one another
	maxCalls  = 50        // macros that call macros
	maxSteps  = 2 << 20   // evaluated nodes, elements, and readBytes of strings that are looked through
	maxBytes  = 256 << 20 // of all strings and lists that were built
	maxOutput = 64 << 20  // bytes
	maxRange  = 100_000   // numbers of one range(), as in Jinja2's sandbox

	maxMessage = 600 // bytes of what an error says, which may quote a value
)

// Reason sorts errors.
type Reason uint8

const (
	Syntax      Reason = iota // not a valid template
	Unsupported               // valid, but outside of what this package renders
	Runtime                   // what Jinja2 would have raised for these variables
	Raised                    // the template called raise_exception
	Limit                     // the template needs more than the limits of this package
)

// Error is a failure at a line of the template.
type Error struct {
	Line   int
	Reason Reason
	Text   string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Text) }

// Template is read-only and safe for concurrent use.
type Template struct {
	body []statement
	// Marked: it has {% generation %} marks, and so tells itself what an assistant has written.
	Marked bool
	names  map[string]int
}

// Mentions tells whether a variable of this name could change what the template writes.
func (t *Template) Mentions(name string) bool { return t.names[name] > 0 }

// Parse reads a template. The error is an *Error.
func Parse(source string) (t *Template, err error) {
	defer catch(&err)
	if len(source) > maxSource {
		return nil, &Error{1, Limit, fmt.Sprintf("the template has %d bytes, more than %d", len(source), maxSource)}
	}
	p := &parser{tokens: scan(source), mentioned: map[string]int{}}
	body := p.body(nil)
	if len(p.unknown) > 0 {
		return nil, p.unknown[0]
	}
	return &Template{body, p.marked, p.mentioned}, nil
}

// Output is a rendered text.
type Output struct {
	Text string
	// Generated are the parts of the text within {% generation %} marks, in the order in which they were written.
	Generated []Span
	Marked    bool // the template's
	marks     []mark
}

// Span is a part of a text, in bytes.
type Span struct{ Start, End int }

// mark says which line of the template wrote the text from offset on.
type mark struct{ offset, line int }

// Line is the line of the template that wrote the byte at offset.
func (o Output) Line(offset int) int {
	line := 1
	for _, m := range o.marks {
		if m.offset > offset {
			break
		}
		line = m.line
	}
	return line
}

// Render renders the template with the given variables: nil, bool, int64, float64, string, List and *Dict. now is what
// strftime_now formats. The error is an *Error.
func (t *Template) Render(variables map[string]Value, now time.Time) (Output, error) {
	m := &machine{now: now, out: &output{}}
	return m.render(t, variables)
}

func (m *machine) render(t *Template, variables map[string]Value) (out Output, err error) {
	defer catch(&err)
	m.whole = m.out
	m.run(t.body, &scope{vars: m.globals(variables)})
	return Output{m.out.text.String(), m.generated, t.Marked, m.out.marks}, nil
}

func catch(err *error) {
	switch r := recover().(type) {
	case nil:
	case *Error:
		*err = r
	default:
		panic(r)
	}
}

type output struct {
	text  strings.Builder
	marks []mark
}

func (o *output) write(line int, s string) {
	if s == "" {
		return
	}
	if o.text.Len()+len(s) > maxOutput {
		panic(&Error{line, Limit, fmt.Sprintf("the output is longer than %d bytes", maxOutput)})
	}
	if len(o.marks) == 0 || o.marks[len(o.marks)-1].line != line {
		o.marks = append(o.marks, mark{o.text.Len(), line})
	}
	o.text.WriteString(s)
}
