package shaders

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// linkWith links a kernel with the modules of a library.
func linkWith(kernel string, library map[string]string) (string, error) {
	return link("shaders/kernel.wgsl", kernel, func(module string) (string, bool) {
		text, ok := library[module]
		return text, ok
	})
}

// declarations are the names that a text declares, in order.
func declarations(text string) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^(?:@group.*)?(?:fn|struct|const|var(?:<[^>]*>)?) (\w+)`).FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

const kernel = `// What it does.

import package::top::{f};

const N: u32 = 1u;

@compute @workgroup_size(1)
fn main() { f(N); }
`

// What an import names comes along, from other modules too, once and before what names it; what nothing names stays
// behind.
func TestLinkTakesWhatIsNamed(t *testing.T) {
	text, err := linkWith(strings.Replace(kernel, "{f};", "{f, g};", 1)+"const M: u32 = g(1u);\n", map[string]string{
		"top": `import package::bottom::{S, deep};

const UNUSED: u32 = 9u;

// What g does: it has nothing to do with UNUSED.
fn g(x: u32) -> u32 { return h(x) + deep(); }

@group(0) @binding(1) var<storage, read> region: array<u32>; // what it holds

fn f(x: u32) -> u32 {
  var s: S;
  // unroll i COUNT {
  s.x_i0 = region[h(x)];
  // }
  return s.x_i0; // a member y.g is no g
}

// COUNT
const COUNT: u32 = 1u;

fn h(x: u32) -> u32 { return x; }
`,
		"bottom": "struct S {\n  x_i0: u32,\n  h: u32, /* UNUSED */\n}\n\nfn deep() -> u32 { return 1u; }\n\nfn other() {}\n",
	})
	require.NoError(t, err)
	require.Equal(t, []string{"N", "main", "M", "S", "COUNT", "region", "h", "f", "deep", "g"}, declarations(text))
	require.True(t, strings.HasPrefix(text, "// What it does.\n\n\n\nconst N: u32 = 1u;\n"), "lines are the file's:\n%s", text)
	require.Contains(t, text, "\n// From shaders/lib/top.wgsl.\n\n// What g does: it has nothing to do with UNUSED.\nfn g(x: u32)")
	require.Contains(t, text, "region: array<u32>; // what it holds\n")
}

// A directive stands before all declarations, where the kernel has it.
func TestLinkLeavesDirectivesFirst(t *testing.T) {
	text, err := linkWith("enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n"+kernel, map[string]string{"top": "fn f(x: u32) {}\n"})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(text, "enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n"))
	require.Equal(t, []string{"N", "main", "f"}, declarations(text))
}

// Two modules may declare the same name as long as no kernel takes both.
func TestLinkTakesOneOfTwo(t *testing.T) {
	text, err := linkWith(kernel, map[string]string{
		"top": "const A: u32 = 1u;\nfn f(x: u32) { g(); }\nfn g() {}\nfn h() {}\n", "other": "fn h() {}\n",
	})
	require.NoError(t, err)
	require.Equal(t, []string{"N", "main", "g", "f"}, declarations(text))
}

// What cannot be linked is said with file, line and name.
func TestLinkErrors(t *testing.T) {
	const f = "fn f(x: u32) {}\n"
	for name, c := range map[string]struct {
		kernel  string
		library map[string]string
		want    string
	}{
		"unknown module": {kernel, map[string]string{}, "shaders/kernel.wgsl:3: the library has no module top"},
		"unknown module of a module": {
			kernel, map[string]string{"top": "\nimport package::more::{g};\n" + f}, "shaders/lib/top.wgsl:2: the library has no module more",
		},
		"unknown declaration": {kernel, map[string]string{"top": "fn g() {}\n"}, "shaders/kernel.wgsl:3: shaders/lib/top.wgsl declares no f"},
		"declaration of another module": {
			kernel, map[string]string{"top": "import package::more::{f};\nfn g() { f(1u); }\n", "more": f},
			"shaders/kernel.wgsl:3: shaders/lib/top.wgsl declares no f",
		},
		"unused import": {
			strings.Replace(kernel, "{f}", "{f, g}", 1), map[string]string{"top": f + "fn g() {}\n"},
			"shaders/kernel.wgsl:3: g is imported and not used",
		},
		"unused but in a comment": {
			strings.Replace(kernel, "{f}", "{f, does}", 1), map[string]string{"top": f + "fn does() {}\n"}, "does is imported and not used",
		},
		"unused import of a module": {
			kernel, map[string]string{"top": "import package::more::{g};\n" + f, "more": "fn g() {}\n"},
			"shaders/lib/top.wgsl:1: g is imported and not used",
		},
		"used and not imported": {
			strings.Replace(kernel, "f(N)", "f(N + g())", 1), map[string]string{"top": "fn f(x: u32) { g(); }\nfn g() {}\n"},
			"shaders/kernel.wgsl: g of shaders/lib/top.wgsl:2 is used and not imported",
		},
		"clash with the kernel": {
			kernel, map[string]string{"top": "const N: u32 = 2u;\nfn f(x: u32) { f(N); }\n"},
			"shaders/lib/top.wgsl:1: N is declared at shaders/kernel.wgsl:5 too",
		},
		"clash of an import": {
			kernel + "fn f() {}\n", map[string]string{"top": f}, "shaders/kernel.wgsl:3: f is declared at shaders/kernel.wgsl:9 already",
		},
		"clash of two modules": {
			strings.Replace(kernel, "\nconst", "import package::more::{g};\n\nconst", 1) + "const G: u32 = g();\n",
			map[string]string{"top": "fn f(x: u32) { same(); }\nfn same() {}\n", "more": "fn g() { same(); }\n\nfn same() {}\n"},
			"shaders/lib/more.wgsl:3: same is declared at shaders/lib/top.wgsl:2 too",
		},
		"the same name from two modules": {
			strings.Replace(kernel, "\nconst", "import package::more::{f};\n\nconst", 1), map[string]string{"top": f, "more": f},
			"shaders/kernel.wgsl:4: f is declared at shaders/lib/top.wgsl:1 already",
		},
		"twice in a file": {
			kernel, map[string]string{"top": f + "const f: u32 = 1u;\n"},
			"shaders/lib/top.wgsl:2: f is declared at shaders/lib/top.wgsl:1 already",
		},
		"cycle": {
			kernel, map[string]string{
				"top": "import package::more::{g};\nfn f(x: u32) { g(); }\n", "more": "\nimport package::top::{f};\nfn g() { f(1u); }\n",
			},
			"shaders/lib/more.wgsl:2: top imports itself, through top, more",
		},
		"another form": {
			strings.Replace(kernel, "::{f};", "::f;", 1), map[string]string{"top": f},
			"shaders/kernel.wgsl:3: an import is written `import package::module::{name, name};`",
		},
	} {
		_, err := linkWith(c.kernel, c.library)
		require.ErrorContains(t, err, c.want, name)
	}
}

// Every kernel and every module can be linked, and every module is of use to a kernel.
func TestEveryFileIsLinked(t *testing.T) {
	used := map[string]bool{}
	for _, name := range Names() {
		for _, line := range strings.Split(Source(name), "\n") {
			if module, ok := strings.CutPrefix(line, "// From shaders/lib/"); ok {
				used[strings.TrimSuffix(module, ".wgsl.")] = true
			}
		}
	}
	for _, name := range Modules() {
		require.NotEmpty(t, Module(name))
	}
	require.Equal(t, Modules(), slices.Sorted(maps.Keys(used)))
}

// repeated is the length of a run of lines that counts as written again.
const repeated = 6

// Less than a tenth of the code is in runs of six or more lines that stand in the sources already. Comments do not
// count, but for the unroller's, nor do blank lines and imports.
func TestLittleIsWrittenTwice(t *testing.T) {
	kernels, err := filepath.Glob("*.wgsl")
	require.NoError(t, err)
	modules, err := filepath.Glob("lib/*.wgsl")
	require.NoError(t, err)
	seen := map[string]bool{}
	all, again := 0, 0
	for _, name := range slices.Concat(kernels, modules) {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		lines := codeLines(string(data))
		twice := map[int]bool{}
		for i := range max(0, len(lines)-repeated+1) {
			run := strings.Join(lines[i:i+repeated], "\n")
			for j := i; seen[run] && j < i+repeated; j++ {
				twice[j] = true
			}
			seen[run] = true
		}
		all, again = all+len(lines), again+len(twice)
	}
	t.Logf("%d of %d lines", again, all)
	require.Greater(t, all, 3000)
	require.Less(t, 10*again, all, "%d of %d lines are written again: what kernels share is in lib", again, all)
}

func codeLines(text string) (lines []string) {
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "// unroll ") && line != "// }" {
			line = strings.TrimSpace(comment.ReplaceAllString(line, " "))
		}
		if line = strings.Join(strings.Fields(line), " "); line != "" && !strings.HasPrefix(line, "import ") {
			lines = append(lines, line)
		}
	}
	return lines
}
