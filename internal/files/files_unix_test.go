//go:build unix

package files

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// What has no end, or waits for its other one, is refused at once.
func TestOnlyRegularFilesAreOpened(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, syscall.Mkfifo(at("pipe"), 0o666))
	require.NoError(t, os.Symlink("/dev/zero", at("zeros")))
	require.NoError(t, os.Symlink(at("pipe"), at("link to a pipe")))
	for _, name := range []string{at("pipe"), at("zeros"), at("link to a pipe"), "/dev/zero", dir} {
		_, err := Open(name)
		require.ErrorIs(t, err, errNotRegular, name)
		_, err = Read(name, 10)
		require.ErrorIs(t, err, errNotRegular, name)
	}
	_, err := Append(at("pipe"))
	require.Error(t, err)

	require.NoError(t, os.WriteFile(at("ten"), []byte("0123456789"), 0o666))
	require.NoError(t, os.Symlink("ten", at("link")))
	data, err := Read(at("link"), 10)
	require.NoError(t, err)
	require.Equal(t, "0123456789", string(data))
	_, err = Read(at("link"), 9)
	require.EqualError(t, err, "more than 9 bytes")
	_, err = Open(at("nothing"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NotContains(t, err.Error(), dir, "whoever reports it names the path")
}

// A link that somebody left in a folder changes nothing outside of it.
func TestWritesFollowNoLink(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "precious")
	require.NoError(t, os.WriteFile(outside, []byte("kept"), 0o666))
	dir := t.TempDir()
	planted := filepath.Join(dir, "trainer_log.jsonl")
	require.NoError(t, os.Symlink(outside, planted))

	_, err := Append(planted)
	require.ErrorContains(t, err, "escapes")
	f, err := Create(planted)
	require.NoError(t, err)
	_, err = f.WriteString("new")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	f, err = Append(planted)
	require.NoError(t, err)
	_, err = f.WriteString("er")
	require.NoError(t, err)
	require.NoError(t, f.Close())

	data, err := os.ReadFile(planted)
	require.NoError(t, err)
	require.Equal(t, "newer", string(data))
	data, err = os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, "kept", string(data))
}
