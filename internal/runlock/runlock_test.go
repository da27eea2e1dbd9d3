//go:build !js

package runlock

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

const holdVariable = "QLORA_TEST_HOLD"

// TestMain lets a test start this binary as another process that holds a folder until it is killed.
func TestMain(m *testing.M) {
	dir := os.Getenv(holdVariable)
	if dir == "" {
		os.Exit(m.Run())
	}
	_, err := Take(dir, func(message string) { fmt.Println("warning:", message) })
	fmt.Println("taken:", err)
	time.Sleep(time.Minute)
}

// hold starts a process that takes dir, and returns when it has said how that went.
func hold(t *testing.T, dir string, environment ...string) (*exec.Cmd, string) {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	c := exec.Command(executable)
	c.Env = append(append(os.Environ(), holdVariable+"="+dir), environment...)
	pipe, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	line := make([]byte, 1000)
	n, err := pipe.Read(line)
	require.NoError(t, err)
	return c, string(line[:n])
}

func noWarning(t *testing.T) func(string) {
	return func(message string) { t.Error(message) }
}

func TestOneProcessAFolder(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "runs", "out")
	other, said := hold(t, dir)
	require.Equal(t, "taken: <nil>\n", said)
	link := filepath.Join(parent, "link")
	if err := os.Symlink(filepath.Join(parent, "runs"), link); err != nil {
		link = filepath.Join(parent, "runs") // no rights for one on Windows
	}
	host, err := os.Hostname()
	require.NoError(t, err)
	for _, name := range []string{dir, filepath.Join(link, "out"), filepath.Join(parent, "runs", "..", "runs", "out")} {
		l, err := Take(name, noWarning(t))
		require.Nil(t, l)
		require.True(t, usererr.Is(err, usererr.Invalid))
		require.ErrorContains(t, err, fmt.Sprintf("lock output folder %s: process %d on %q trains into it since %s", name,
			other.Process.Pid, host, time.Now().Format("2006-")))
		require.ErrorContains(t, err, "(wait until it ends, or choose another --output-dir)")
	}
	l, err := Take(filepath.Join(parent, "elsewhere"), noWarning(t))
	require.NoError(t, err)
	l.Release()
	require.NoDirExists(t, filepath.Join(parent, "elsewhere"), "nothing came into it")

	// The lock dies with its holder, whatever killed it; what is left of its file means nothing.
	require.NoError(t, other.Process.Kill())
	_ = other.Wait()
	require.FileExists(t, filepath.Join(dir, FileName))
	l, err = Take(dir, noWarning(t))
	require.NoError(t, err)
	second, err := Take(dir, noWarning(t))
	require.Nil(t, second)
	require.ErrorContains(t, err, fmt.Sprintf("process %d on", os.Getpid()), "another run of the same process")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "adapter"), nil, 0o666))
	l.Release()
	require.FileExists(t, filepath.Join(dir, "adapter"))
}

// A child trains under its parent's lock; a process that only inherited the variable does not.
func TestTheParentHoldsItForItsChild(t *testing.T) {
	dir := t.TempDir()
	l, err := Take(dir, noWarning(t))
	require.NoError(t, err)
	defer l.Release()
	_, said := hold(t, dir, Environment())
	require.Equal(t, "taken: <nil>\n", said)
	_, said = hold(t, dir, variable+"=1")
	require.Contains(t, said, fmt.Sprintf("process %d on", os.Getpid()))
}

// Whoever takes and releases at the same time: never two hold it, although each removes the file.
func TestNeverTwoHolders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	var inside, taken atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 30 {
				l, err := Take(dir, noWarning(t))
				if err != nil {
					continue // held all the time
				}
				if inside.Add(1) != 1 {
					t.Error("two hold it")
				}
				taken.Add(1)
				time.Sleep(time.Millisecond)
				inside.Add(-1)
				l.Release()
			}
		})
	}
	group.Wait()
	require.Greater(t, taken.Load(), int32(30))
}

// A lock on a file that its holder before has removed is none: the next one would lock another file of that name.
func TestARemovedFileIsNoLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), FileName)
	f := flock.New(name)
	locked, err := f.TryLock()
	require.NoError(t, err)
	require.True(t, locked)
	defer f.Unlock()
	require.True(t, isNamed(f, name))
	if os.Remove(name) != nil {
		return // a file that is open stays there on this system
	}
	require.False(t, isNamed(f, name))
	require.NoError(t, os.WriteFile(name, nil, 0o666))
	require.False(t, isNamed(f, name))
}

// Where there are no locks, or something else has the name of the lock's file, the run goes on and says so. What a link
// leads to stays as it is.
func TestAFolderWithoutLocks(t *testing.T) {
	dir := t.TempDir()
	name, precious := filepath.Join(dir, FileName), filepath.Join(t.TempDir(), "precious")
	require.NoError(t, os.WriteFile(precious, []byte("precious"), 0o666))
	for what, plant := range map[string]func() error{
		"a folder":   func() error { return os.Mkdir(name, 0o777) },
		"a link":     func() error { return os.Symlink(precious, name) },
		"other text": func() error { return os.WriteFile(name, make([]byte, 1000), 0o666) },
	} {
		if plant() != nil {
			continue // no rights for links on Windows
		}
		var said []string
		l, err := Take(dir, func(message string) { said = append(said, message) })
		require.NoError(t, err, what)
		l.Release()
		require.Equal(t, []string{dir + " cannot be locked (" + name + " is no lock of this program): see to it that no other run writes there."},
			said, what)
		require.NoError(t, os.Remove(name), what)
	}
	text, err := os.ReadFile(precious)
	require.NoError(t, err)
	require.Equal(t, "precious", string(text))
	if os.Getuid() > 0 {
		require.NoError(t, os.Chmod(dir, 0o555))
		defer os.Chmod(dir, 0o777)
		said := ""
		l, err := Take(dir, func(message string) { said = message })
		require.NoError(t, err)
		l.Release()
		require.Contains(t, said, "permission denied")
	}
}

func TestAFolderThatCannotBeMade(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, nil, 0o666))
	_, err := Take(filepath.Join(name, "out"), noWarning(t))
	require.ErrorContains(t, err, "prepare output folder "+filepath.Join(name, "out")+": ")
	require.True(t, usererr.Is(err, usererr.Invalid))
}
