package qlorawgpu_test

import (
	"fmt"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "qlora-wgpu/"

// rooms are the packages from top to bottom: one may import what stands on a line below its own. Folders below cmd,
// examples and tools stand on the line of their parent; "." is the module's page.
var rooms = [][]string{
	{"cmd", "web/engine", "web/check", "examples", "tools", "."},
	{"web"},
	{"internal/parity"},
	{"trainer"},
	{
		"internal/bench", "internal/check", "internal/convert", "internal/drift", "internal/ollama", "internal/preview", "internal/answer",
	},
	{"internal/dataloader"},
	{"internal/engine"},
	{"internal/demo"},
	{"internal/opcases"},
	{"internal/model"},
	{"internal/adapters"},
	{"lora"},
	{"internal/optim"},
	{"internal/host"},
	{"internal/events"},
	{"paging"},
	{"internal/frozen"},
	{"internal/kernels"},
	{"gpu"},
	{"shaders"},
	{"internal/reference"},
	{"internal/browser"},
	{"internal/inspect"},
	{"internal/processor", "internal/datacache"},
	{"internal/dataset"},
	{"internal/chat"},
	{"internal/chat/jinja", "internal/chat/training"},
	{"internal/tokenizer"},
	{"internal/hub", "internal/nf4cache"},
	{"internal/checkpoint", "internal/pretrained", "internal/runlock"},
	{"internal/model/architectures"},
	{"internal/model/spec"},
	{"internal/safetensors", "internal/gguf", "internal/parquet"},
	{"doublequant"},
	{"nf4"},
	{"internal/settings"},
	{"internal/files"},
	{"internal/usererr", "internal/version"},
}

// onlyTests import these; they may import anything.
var onlyTests = []string{
	"internal/testfiles", "internal/canceltest", "internal/hub/hubtest", "internal/demo/demotest", "internal/reference/referencetest",
}

// line is a package's place in rooms, -1 where it has none.
func line(pkg string) int {
	if top, _, below := strings.Cut(pkg, "/"); below && slices.Contains([]string{"cmd", "examples", "tools"}, top) {
		pkg = top
	}
	return slices.IndexFunc(rooms, func(line []string) bool { return slices.Contains(line, pkg) })
}

// source is a Go file that is no test.
type source struct {
	pkg, name string // folder within the module, and file
	clause    string // its package clause
	imports   []string
	wasm      bool // compiled for the browser
}

// faults are the rules that a file breaks.
func (s source) faults() (faults []string) {
	fault := func(format string, args ...any) {
		faults = append(faults, s.pkg+"/"+s.name+": "+fmt.Sprintf(format, args...))
	}
	for _, name := range []string{s.clause, path.Base(s.pkg)} {
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "misc"}, name) {
			fault("a package named %s says nothing", name)
		}
	}
	if slices.Contains(onlyTests, s.pkg) {
		return faults
	}
	own := line(s.pkg)
	if own < 0 {
		fault("package %s has no place in the order of rooms", s.pkg)
		return faults
	}
	for _, imported := range s.imports {
		switch {
		case strings.HasPrefix(imported, "github.com/cogentcore/webgpu") && s.pkg != "gpu":
			fault("only gpu imports %s", imported)
		case (imported == "os" || strings.HasPrefix(imported, "os/")) && s.wasm && own > 0:
			fault("imports %s in code that the browser runs", imported)
		}
		pkg, ours := strings.CutPrefix(imported, module)
		switch at := line(pkg); {
		case !ours:
		case slices.Contains(onlyTests, pkg):
			fault("only tests import %s", pkg)
		case pkg == "internal/reference" && s.pkg != "internal/opcases":
			fault("only internal/opcases and tests import %s", pkg)
		case at >= 0 && at <= own:
			fault("imports upwards: %s", pkg)
		}
	}
	return faults
}

func read(t *testing.T, name string) source {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	require.NoError(t, err)
	browser := build.Default
	browser.GOOS, browser.GOARCH = "js", "wasm"
	dir, base := filepath.Split(name)
	s := source{pkg: path.Clean(filepath.ToSlash(dir)), name: base, clause: file.Name.Name}
	s.wasm, err = browser.MatchFile(dir, base)
	require.NoError(t, err)
	for _, i := range file.Imports {
		imported, err := strconv.Unquote(i.Path.Value)
		require.NoError(t, err)
		s.imports = append(s.imports, imported)
	}
	return s
}

func TestRooms(t *testing.T) {
	var faults []string
	seen := map[string]bool{}
	require.NoError(t, filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base,
				"_") || slices.Contains([]string{"testdata", "node_modules", "build"}, base)) {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(base, ".go") && !strings.HasSuffix(base, "_test.go") {
			s := read(t, name)
			seen[s.pkg] = true
			faults = append(faults, s.faults()...)
		}
		return nil
	}))
	require.Empty(t, faults, strings.Join(faults, "\n"))
	for _, line := range rooms[1:] {
		for _, pkg := range line {
			require.True(t, seen[pkg], "room %s is gone", pkg)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		source
		want string // part of the only fault; empty: none
	}{
		{source{pkg: "trainer", name: "a.go", imports: []string{module + "gpu", "fmt"}, wasm: true}, ""},
		{source{pkg: "cmd/qlora-wgpu", name: "a.go", imports: []string{"os", module + "trainer"}, wasm: true}, ""},
		{source{pkg: "trainer", name: "a.go", imports: []string{"os"}}, ""},
		{source{pkg: "gpu", name: "a.go", imports: []string{"github.com/cogentcore/webgpu/wgpu"}}, ""},
		{source{pkg: "internal/opcases", name: "a.go", imports: []string{module + "internal/reference"}}, ""},
		{source{pkg: "gpu", name: "a.go", imports: []string{module + "trainer"}}, "imports upwards: trainer"},
		{source{pkg: "internal/gguf", name: "a.go", imports: []string{module + "internal/safetensors"}}, "imports upwards"},
		{source{pkg: "trainer", name: "a.go", imports: []string{module + "cmd/qlora-wgpu"}}, "imports upwards"},
		{source{pkg: "lora", name: "a.go", imports: []string{"github.com/cogentcore/webgpu/wgpu"}}, "only gpu imports"},
		{source{pkg: "trainer", name: "a.go", imports: []string{module + "internal/reference"}}, "only internal/opcases"},
		{source{pkg: "trainer", name: "a.go", imports: []string{module + "internal/testfiles"}}, "only tests import"},
		{source{pkg: "trainer", name: "a.go", imports: []string{"os"}, wasm: true}, "imports os in code that the browser runs"},
		{source{pkg: "trainer", name: "a.go", imports: []string{"os/exec"}, wasm: true}, "imports os/exec"},
		{source{pkg: "internal/kitchen", name: "a.go"}, "no place in the order"},
		{source{pkg: "lora", name: "a.go", clause: "helpers"}, "says nothing"},
	} {
		faults := c.faults()
		if c.want == "" {
			require.Empty(t, faults)
			continue
		}
		require.Len(t, faults, 1, c.want)
		require.Contains(t, faults[0], c.want)
	}
}
