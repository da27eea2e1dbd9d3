package shaders

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A file is a kernel or a module of the library, taken apart.
type file struct {
	path    string
	text    string // imports are blank, so that the lines of a compiler's messages are the file's
	code    string // text without comments, as long
	imports []use
	scope   map[string]*declaration // its own by name, and what it imports
}

// A use is one name of an import.
type use struct {
	module, name string
	line         int
}

// A declaration is a function, structure, constant, alias or variable at the top level.
type declaration struct {
	file       *file
	text, code string // text with the comments above it and behind it
	line       int
}

func (d *declaration) at() string { return fmt.Sprintf("%s:%d", d.file.path, d.line) }

var (
	comment    = regexp.MustCompile(`//[^\n]*|/\*(?s:.*?)\*/`)
	importLine = regexp.MustCompile(`(?m)^import\b[^;]*;?`)
	importForm = regexp.MustCompile(`^import package::(\w+)::\{([\w\s,]+)\};$`)
	declares   = regexp.MustCompile(`\b(?:fn|struct|const|override|alias|var(?:<[^>]*>)?)\s+(\w+)`)
	local      = regexp.MustCompile(`\b(?:let|var|const)\s+(\w+)|\b(\w+)\s*:`) // variables, parameters and fields
	onlySpaces = regexp.MustCompile(`(?m)^ +$`)
	unrolled   = regexp.MustCompile(`^// unroll \w+ (\w+) \{$`)
	word       = regexp.MustCompile(`\.?\b[A-Za-z_]\w*`)
)

// blank is s as white space.
func blank(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] != '\n' {
			b[i] = ' '
		}
	}
	return string(b)
}

// withoutText is a comment as white space, but for the constant over which it has the unroller go.
func withoutText(comment string) string {
	m := unrolled.FindStringSubmatchIndex(comment)
	if m == nil {
		return blank(comment)
	}
	return blank(comment[:m[2]]) + comment[m[2]:m[3]] + blank(comment[m[3]:])
}

// words are the names that code uses; what follows a dot is a member of something else.
func words(code string) []string {
	return slices.DeleteFunc(word.FindAllString(code, -1), func(w string) bool { return w[0] == '.' })
}

// parse takes a file apart: what stands at the top level ends there with a semicolon or a closing brace.
func parse(path, text string) (*file, error) {
	f := &file{path: path, text: text, code: comment.ReplaceAllStringFunc(text, withoutText), scope: map[string]*declaration{}}
	for _, at := range importLine.FindAllStringIndex(f.code, -1) {
		line := 1 + strings.Count(text[:at[0]], "\n")
		m := importForm.FindStringSubmatch(f.code[at[0]:at[1]])
		if m == nil {
			return nil, fmt.Errorf("%s:%d: an import is written `import package::module::{name, name};`", path, line)
		}
		for _, name := range strings.Split(m[2], ",") {
			f.imports = append(f.imports, use{m[1], strings.TrimSpace(name), line})
		}
		f.text = f.text[:at[0]] + blank(text[at[0]:at[1]]) + f.text[at[1]:]
	}
	f.code = importLine.ReplaceAllStringFunc(f.code, blank)
	depth, start := 0, -1
	for i, c := range []byte(f.code) {
		switch {
		case c == ' ' || c == '\n':
			continue
		case start < 0:
			start = i
		}
		switch c {
		case '{', '(':
			depth++
		case '}', ')':
			depth--
		}
		if depth > 0 || c != ';' && c != '}' {
			continue
		}
		if m := declares.FindStringSubmatch(f.code[start : i+1]); m != nil { // else a directive
			d := f.declaration(start, i+1)
			if other := f.scope[m[1]]; other != nil {
				return nil, fmt.Errorf("%s: %s is declared at %s already", d.at(), m[1], other.at())
			}
			f.scope[m[1]] = d
		}
		start = -1
	}
	return f, nil
}

// declaration is what stands at text[start:end], with the comments above it and behind it.
func (f *file) declaration(start, end int) *declaration {
	d := &declaration{file: f, code: f.code[start:end], line: 1 + strings.Count(f.text[:start], "\n")}
	if rest, _, _ := strings.Cut(f.code[end:], "\n"); strings.TrimSpace(rest) == "" {
		end += len(rest)
	}
	for start > 0 {
		above := strings.LastIndexByte(f.text[:start-1], '\n') + 1
		if !strings.HasPrefix(f.text[above:], "//") {
			break
		}
		start = above
	}
	d.text = f.text[start:end]
	return d
}
