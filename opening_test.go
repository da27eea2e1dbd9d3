package qlorawgpu_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// opening are the functions of package os that open a file, whatever kind it is and however long.
var opening = []string{"Open", "OpenFile", "ReadFile", "Create", "WriteFile", "DirFS"}

// mayOpen are the places that open something else than a file that a user or a run names.
var mayOpen = map[string]string{
	"internal/files/files.go":             "where they are opened",
	"internal/host/memory_other.go":       "/proc/meminfo",
	"internal/checkpoint/store_native.go": "a folder, to sync it",
	"internal/runlock/runlock.go":         "the lock, once it is known to be one",
}

// opens lists the calls of a file that mayOpen does not name.
func opens(t *testing.T, name string, source any) (calls []string) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, 0)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := s.X.(*ast.Ident); ok && pkg.Name == "os" && slices.Contains(opening, s.Sel.Name) && mayOpen[name] == "" {
				calls = append(calls, files.Position(n.Pos()).String()+": os."+s.Sel.Name)
			}
		}
		return true
	})
	return calls
}

// Files are opened by internal/files, which takes none that waits or never ends.
func TestFilesAreOpenedInOnePlace(t *testing.T) {
	var calls []string
	seen := map[string]bool{}
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		name := filepath.ToSlash(path)
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if name == "tools" || slices.Contains(onlyTests, name) || name != "." && strings.HasPrefix(entry.Name(),
				".") || entry.Name() == "node_modules" || entry.Name() == "testdata" {
				return fs.SkipDir
			}
		case strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go"):
			seen[name] = true
			calls = append(calls, opens(t, name, nil)...)
		}
		return nil
	}))
	require.Empty(t, calls, strings.Join(calls, "\n"))
	for name := range mayOpen {
		require.True(t, seen[name], "%s is gone", name)
	}
	require.Len(t, opens(t, "a.go", `package a; import "os"; func f() { os.Open(""); os.ReadFile(""); os.Stat("") }`), 2)
}
