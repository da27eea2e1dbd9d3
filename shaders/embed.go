// Package shaders holds the WGSL sources: kernels, named <operation>_<pass>[_<variant>].wgsl, and in lib what they share.
//
// A kernel says what it needs of a module, in WESL's syntax:
//
//	import package::nf4::{region, decode};
//
// Source gives the linked text, which is what the unroller (gpu.Specialize) and then the compilers get: the kernel's own text, then the
// declarations that it imports and what these name, each once and behind what it names. There are no macros, no conditions and no
// renaming. So a name means one thing in a kernel and all that it imports; a clash, a name that no module declares, one that is imported
// and not used or used and not imported, and modules that import each other are errors that name file and line.
//
// A module is WGSL that compiles by itself, once unrolled:
//
//   - What it computes from, it is given as values: of WGSL's pointers, `ptr<function>` alone is passed, to sums that stay in registers.
//   - Where a function reads or writes memory, its module declares that memory: a binding that has the same number in every kernel that
//     imports the function, or a workgroup variable. Kernels that have all operands in common share Params and bindings so.
//   - A module may declare constants with the values of the smallest tile, and unroll over them: what a variant sets is set in the linked
//     text. Sums whose number depends on constants are the fields of a structure, unrolled as named registers are.
//   - A top-level declaration begins in the first column, comments of its own right above it. A function's variables and parameters have
//     other names than the module's declarations, since the linker knows no scopes.
package shaders

import (
	"embed"
	"fmt"
	"strings"
	"sync"
)

//go:embed *.wgsl lib/*.wgsl
var files embed.FS

// linked holds the texts that were asked for, by path: every dispatch asks for one.
var linked sync.Map

// Source is the linked text of NAME.wgsl; a name that is not there, or a text that cannot be linked, is a bug and panics.
func Source(name string) string { return source(name) }

// Module is likewise the text of lib/NAME.wgsl.
func Module(name string) string { return source("lib/" + name) }

func source(path string) string {
	if text, ok := linked.Load(path); ok {
		return text.(string)
	}
	text, ok := read(path)
	if !ok {
		panic(fmt.Sprintf("shaders: there is no %s.wgsl", path))
	}
	text, err := link("shaders/"+path+".wgsl", text, func(module string) (string, bool) { return read("lib/" + module) })
	if err != nil {
		panic(err.Error())
	}
	linked.Store(path, text)
	return text
}

func read(path string) (text string, ok bool) {
	data, err := files.ReadFile(path + ".wgsl")
	return string(data), err == nil
}

// Names lists all kernels without the ending, sorted.
func Names() []string { return names(".") }

// Modules lists the library's modules, sorted.
func Modules() []string { return names("lib") }

func names(folder string) (names []string) {
	entries, _ := files.ReadDir(folder)
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".wgsl"); ok {
			names = append(names, name)
		}
	}
	return names
}
