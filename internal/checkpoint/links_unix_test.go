//go:build unix

package checkpoint

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A folder that somebody else made may hold links in the places where a run writes: nothing outside of it changes.
func TestSaveFollowsNoLink(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	precious := filepath.Join(outside, "manifest.json")
	require.NoError(t, os.WriteFile(precious, []byte("kept"), 0o666))
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.Symlink(outside, at("checkpoint-2.tmp")))
	require.NoError(t, os.Symlink(outside, at("checkpoint-2")))
	require.NoError(t, os.Symlink(precious, at("README.md")))

	require.NoError(t, Save(Files{}, dir, 2, Identity{"model": "a"}, 1, []File{{
		Name: "weights", Write: func(w io.Writer) error { _, err := io.WriteString(w, "w"); return err },
	}}))
	require.NoError(t, WriteBytes(Files{}, at("README.md"), []byte("new")))
	_, err := Open(Files{}, at("checkpoint-2"))
	require.NoError(t, err)

	left, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Len(t, left, 1)
	text, err := os.ReadFile(precious)
	require.NoError(t, err)
	require.Equal(t, "kept", string(text))
	for _, name := range []string{"checkpoint-2", "README.md"} {
		info, err := os.Lstat(at(name))
		require.NoError(t, err)
		require.Zero(t, info.Mode()&os.ModeSymlink, "%s is no link any more", name)
	}
}
