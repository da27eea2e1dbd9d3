//go:build unix

package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is no file stays, whatever force says: as root a device would be gone for the whole system. A link is replaced,
// and what it leads to stays.
func TestDataReplacesFilesAlone(t *testing.T) {
	data, dir := filepath.Join(dataFolder(t), "train.jsonl"), t.TempDir()
	pipe, link, target := filepath.Join(dir, "pipe.jsonl"), filepath.Join(dir, "link.jsonl"), filepath.Join(dir, "target")
	require.NoError(t, syscall.Mkfifo(pipe, 0o666))
	require.NoError(t, os.WriteFile(target, []byte("kept"), 0o666))
	require.NoError(t, os.Symlink(target, link))
	for _, args := range [][]string{{"inspect", "--html"}, {"convert", "--output"}} {
		refused(t, args[0]+" data set "+pipe+": not a regular file (name another)\n", "data", args[0], "--data", data, args[1], pipe, "--force")
		refused(t, args[0]+" data set "+link+": it is there already (--force replaces it)\n", "data", args[0], "--data", data, args[1], link)
	}
	info, err := os.Lstat(pipe)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeNamedPipe)
	status, _, stderr := invoke(t, "data", "convert", "--data", data, "--output", link, "--force")
	require.Zero(t, status, stderr)
	info, err = os.Lstat(link)
	require.NoError(t, err)
	require.True(t, info.Mode().IsRegular())
	kept, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Equal(t, "kept", string(kept))
}
