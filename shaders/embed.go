// Package shaders holds the WGSL sources: kernels, named <operation>_<pass>[_<variant>].wgsl, and in lib the modules
// that hold what they share.
//
// A kernel says in WESL's syntax what it needs of a module:
//
//	import package::nf4::{region, decode};
//
// Source gives the linked text: the kernel's own, then the declarations that it imports and what these name, each once
// and behind what it names. There are no macros, no conditions and no renaming. The linked text is unrolled
// (gpu.Specialize), and then it is what the compilers get; `qlora-wgpu shader NAME` prints it.
//
// These are errors, with file and line, that a test finds: a name that is declared twice in a linked text; that no
// module declares; that is imported and not used, or used and not imported; modules that import each other.
//
// A module is WGSL that compiles by itself, once unrolled:
//
//   - A function is given values. Of pointers only `ptr<function>` is passed, to sums that stay in registers: the
//     compilers inline it, and WebGPU has no others everywhere.
//   - A function that reads or writes memory stands beside it: a workgroup variable, or a binding, which then has the
//     same number in every kernel that takes the function. Kernels with all operands in common share Params and
//     bindings so.
//   - Constants have the values of the smallest tile. What a variant sets, it sets in the linked text, wherever it is
//     declared; blocks may be unrolled over it, within structures too.
//   - Sums whose number depends on constants are the fields of a structure, named as the unroller names variables:
//     dynamic indices into arrays cost more than the arithmetic.
//   - Directives (enable, diagnostic) stand in kernels. Builtins are parameters of main: of a structure with them that
//     is passed on, some backends get the number of workgroups wrong.
//   - A top-level declaration begins in the first column, its own comment right above it. The linker knows no scopes: a
//     parameter or variable that is named like a declaration takes that along.
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

// Source is the linked text of NAME.wgsl. A name that is not there, or a text that cannot be linked, is a bug and
// panics.
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
