package shaders

import (
	"fmt"
	"slices"
	"strings"
)

// A linker gathers the declarations that a kernel needs.
type linker struct {
	read    func(module string) (text string, ok bool)
	modules map[string]*file
	open    []string       // modules whose imports are being followed
	taken   []*declaration // each behind what it names
	names   map[string]*declaration
}

// link is the text of a kernel, then of the declarations that it imports and of what these name, each once and behind
// what it names itself.
func link(path, text string, read func(module string) (string, bool)) (string, error) {
	l := &linker{read: read, modules: map[string]*file{}, names: map[string]*declaration{}}
	kernel, err := parse(path, text)
	if err != nil {
		return "", err
	}
	for name, d := range kernel.scope {
		l.names[name] = d
	}
	if err := l.follow(kernel); err != nil {
		return "", err
	}
	for _, u := range kernel.imports {
		if err := l.take(u.name, kernel.scope[u.name]); err != nil {
			return "", err
		}
	}
	locals := map[string]bool{}
	for _, m := range local.FindAllStringSubmatch(kernel.code, -1) {
		locals[m[1]+m[2]] = true
	}
	for _, w := range words(kernel.code) {
		if d := l.names[w]; d != nil && kernel.scope[w] == nil && !locals[w] {
			return "", fmt.Errorf("%s: %s of %s is used and not imported", path, w, d.at())
		}
	}
	var linked strings.Builder
	linked.WriteString(onlySpaces.ReplaceAllString(kernel.text, ""))
	from := kernel
	for _, d := range l.taken {
		if d.file != from {
			from = d.file
			fmt.Fprintf(&linked, "\n// From %s.\n", from.path)
		}
		fmt.Fprintf(&linked, "\n%s\n", d.text)
	}
	return linked.String(), nil
}

// follow puts what a file imports into its scope.
func (l *linker) follow(f *file) error {
	used := words(f.code)
	for _, u := range f.imports {
		module, err := l.module(u.module)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", f.path, u.line, err)
		}
		d, other := module.scope[u.name], f.scope[u.name]
		switch {
		case d == nil || d.file != module:
			return fmt.Errorf("%s:%d: %s declares no %s", f.path, u.line, module.path, u.name)
		case other != nil:
			return fmt.Errorf("%s:%d: %s is declared at %s already", f.path, u.line, u.name, other.at())
		case !slices.Contains(used, u.name):
			return fmt.Errorf("%s:%d: %s is imported and not used", f.path, u.line, u.name)
		}
		f.scope[u.name] = d
	}
	return nil
}

// module is one of the library, with what it imports in its scope.
func (l *linker) module(name string) (*file, error) {
	if f := l.modules[name]; f != nil {
		return f, nil
	}
	text, ok := l.read(name)
	if !ok {
		return nil, fmt.Errorf("the library has no module %s", name)
	}
	if slices.Contains(l.open, name) {
		return nil, fmt.Errorf("%s imports itself, through %s", name, strings.Join(l.open, ", "))
	}
	l.open = append(l.open, name)
	f, err := parse("shaders/lib/"+name+".wgsl", text)
	if err == nil {
		err = l.follow(f)
	}
	l.open = l.open[:len(l.open)-1]
	l.modules[name] = f
	return f, err
}

// take adds a declaration, behind what it names.
func (l *linker) take(name string, d *declaration) error {
	switch other := l.names[name]; {
	case other == d:
		return nil
	case other != nil:
		return fmt.Errorf("%s: %s is declared at %s too", d.at(), name, other.at())
	}
	l.names[name] = d
	for _, w := range words(d.code) {
		if named := d.file.scope[w]; named != nil {
			if err := l.take(w, named); err != nil {
				return err
			}
		}
	}
	l.taken = append(l.taken, d)
	return nil
}
