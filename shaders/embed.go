// Package shaders holds the WGSL sources, named <operation>_<pass>[_<variant>].wgsl.
package shaders

import (
	"embed"
	"fmt"
	"strings"
	"sync"
)

//go:embed *.wgsl
var files embed.FS

// sources are the texts by name: every dispatch asks for one.
var sources = sync.OnceValue(func() map[string]string {
	texts := map[string]string{}
	for _, name := range Names() {
		data, _ := files.ReadFile(name + ".wgsl")
		texts[name] = string(data)
	}
	return texts
})

// Source is the text of NAME.wgsl; a name that is not there is a bug and panics.
func Source(name string) string {
	text, ok := sources()[name]
	if !ok {
		panic(fmt.Sprintf("shaders: there is no %s.wgsl", name))
	}
	return text
}

// Names lists all shaders without the ending, sorted.
func Names() (names []string) {
	entries, _ := files.ReadDir(".")
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".wgsl"))
	}
	return names
}
