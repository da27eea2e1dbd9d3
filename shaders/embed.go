// Package shaders holds the WGSL sources, named <operation>_<pass>[_<variant>].wgsl.
package shaders

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.wgsl
var files embed.FS

// Source is the text of NAME.wgsl; a name that is not there is a bug and panics.
func Source(name string) string {
	data, err := files.ReadFile(name + ".wgsl")
	if err != nil {
		panic(fmt.Sprintf("shaders: %v", err))
	}
	return string(data)
}

// Names lists all shaders without the ending, sorted.
func Names() (names []string) {
	entries, _ := files.ReadDir(".")
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".wgsl"))
	}
	return names
}
