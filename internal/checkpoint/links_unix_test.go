//go:build unix

package checkpoint

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a link leads to is no checkpoint of the folder, nor a file of one; a checkpoint that the user names may lie
// behind one.
func TestLinksAreNoCheckpoints(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	save := func(dir string, step int) {
		require.NoError(t, Save(Files{}, dir, step, Identity{"model": "a"}, 1, []File{{
			Name: "weights", Write: func(w io.Writer) error { _, err := io.WriteString(w, "w"); return err },
		}}))
	}
	save(dir, 2)
	save(dir, 4)
	save(elsewhere, 6)
	require.NoError(t, os.Symlink(filepath.Join(elsewhere, "checkpoint-6"), filepath.Join(dir, "checkpoint-6")))
	weights := filepath.Join(dir, "checkpoint-4", "weights")
	require.NoError(t, os.Rename(weights, filepath.Join(elsewhere, "weights")))
	require.NoError(t, os.Symlink(filepath.Join(elsewhere, "weights"), weights))

	c, notes, err := Latest(Files{}, dir)
	require.NoError(t, err)
	require.Equal(t, 2, c.Step)
	require.Len(t, notes, 2)
	require.Contains(t, notes[0], "checkpoint-6: bad format: it is a link to somewhere else")
	require.Contains(t, notes[1], "checkpoint-4/weights: bad format: it is a link to somewhere else")
	require.ErrorContains(t, Rotate(Files{}, dir, 1), "it is a link")
	require.FileExists(t, filepath.Join(dir, "checkpoint-2", "weights"), "the only one of the run")
	c, err = Open(Files{}, filepath.Join(dir, "checkpoint-6"))
	require.NoError(t, err)
	require.Equal(t, 6, c.Step)
}

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
