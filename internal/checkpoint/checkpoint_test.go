//go:build !js

package checkpoint

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

var run = Identity{"model": "aaaa", "data": "bbbb"}

type runState struct {
	Step int
	Mark string
}

// save writes a checkpoint whose every file depends on step and mark.
func save(s Store, step int, mark string) error {
	part := func(name string, repeat int) File {
		content := strings.Repeat(fmt.Sprintf("%s %s %d\n", name, mark, step), repeat)
		return File{Name: name, Size: int64(len(content)), Write: func(w io.Writer) error {
			_, err := io.WriteString(w, content)
			return err
		}}
	}
	return Save(s, "out", step, run, runState{step, mark}, []File{part("adapter.safetensors", 200), part("optimizer.bin", 400)})
}

// requireWhole reads a checkpoint back and compares it with what save wrote.
func requireWhole(t *testing.T, c *Checkpoint, step int, mark string) {
	t.Helper()
	require.NotNil(t, c)
	require.Equal(t, step, c.Step)
	require.Equal(t, fmt.Sprintf("out/checkpoint-%d", step), c.Path)
	var state runState
	require.NoError(t, c.State(&state))
	require.Equal(t, runState{step, mark}, state)
	r, err := c.Open("optimizer.bin")
	require.NoError(t, err)
	content, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, strings.Repeat(fmt.Sprintf("optimizer.bin %s %d\n", mark, step), 400), string(content))
}

func TestSaveAndOpen(t *testing.T) {
	t.Chdir(t.TempDir())
	c, notes, err := Latest(Files{}, "out")
	require.NoError(t, err)
	require.Nil(t, c, "there is no run folder yet")
	require.Empty(t, notes)

	require.NoError(t, save(Files{}, 9, "a"))
	require.NoError(t, save(Files{}, 10, "a"))
	require.NoError(t, save(Files{}, 10, "b"), "the same step again")
	c, notes, err = Latest(Files{}, "out")
	require.NoError(t, err)
	require.Empty(t, notes)
	requireWhole(t, c, 10, "b")
	c, err = Open(Files{}, "out/checkpoint-9")
	require.NoError(t, err)
	requireWhole(t, c, 9, "a")

	_, err = c.Open("scheduler.bin")
	require.EqualError(t, err, `read checkpoint out/checkpoint-9: bad format: it has no file "scheduler.bin"`)
	entries, err := os.ReadDir("out")
	require.NoError(t, err)
	require.Len(t, entries, 2, "no temporary folder stays")
}

func TestCheckTellsAnotherRun(t *testing.T) {
	m := newMemory()
	require.NoError(t, save(m, 3, "a"))
	c, err := Open(m, "out/checkpoint-3")
	require.NoError(t, err)
	require.NoError(t, c.Check(Identity{"model": "aaaa", "data": "bbbb"}))
	err = c.Check(Identity{"model": "aaaa", "data": "cccc"})
	require.EqualError(t, err,
		`resume out/checkpoint-3: the checkpoint belongs to another run: its data is "bbbb", this run's is "cccc" (resume with the same model, `+
			`data and settings, or start a new run in another output_dir)`)
	require.True(t, usererr.Is(err, usererr.Invalid))
	require.ErrorContains(t, c.Check(Identity{"model": "aaaa"}), `its data is "bbbb", this run's is ""`)
	require.ErrorContains(t, c.Check(Identity{"model": "aaaa", "data": "bbbb", "settings": "dddd"}),
		`its settings is "", this run's is "dddd"`)
}

// A crash at every single operation of a save, with the unsynced bytes and names lost and kept, leaves the old or the
// new checkpoint; after a save that returned, it leaves the new one; and the run goes on from there.
func TestCrashAtEveryOperation(t *testing.T) {
	for _, test := range []struct {
		name    string
		oldStep int
		operate func(Store) error
	}{
		{"next step", 10, func(s Store) error { return save(s, 20, "new") }},
		{"same step", 20, func(s Store) error { return save(s, 20, "new") }},
		{"next step, one kept", 10, func(s Store) error {
			if err := save(s, 20, "new"); err != nil {
				return err
			}
			return Rotate(s, "out", 1)
		}},
	} {
		for _, once := range []bool{false, true} {
			done := false
			for k := 1; !done; k++ {
				base := newMemory()
				require.NoError(t, save(base, test.oldStep, "old"))
				m := base.reboot(true)
				m.failAt, m.failOnce = k, once
				done = test.operate(m) == nil && m.operations < k
				for _, lose := range []bool{false, true} {
					what := fmt.Sprintf("%s, operation %d, once %t, unsynced lost %t", test.name, k, once, lose)
					after := m.reboot(lose)
					c, _, err := Latest(after, "out")
					require.NoError(t, err, what)
					require.NotNil(t, c, what)
					var state runState
					require.NoError(t, c.State(&state), what)
					if state.Mark == "old" {
						require.False(t, done, "%s: the save returned, the new checkpoint is lost", what)
						requireWhole(t, c, test.oldStep, "old")
					} else {
						requireWhole(t, c, 20, "new")
					}
					require.NoError(t, save(after, 30, "later"), what)
					require.NoError(t, Rotate(after, "out", 1), what)
					c, notes, err := Latest(after, "out")
					require.NoError(t, err, what)
					require.Empty(t, notes, what)
					requireWhole(t, c, 30, "later")
				}
			}
		}
	}
}

// A save that returned survives a crash that loses all that was not synced, the run's new folder included.
func TestReturnedSaveIsDurable(t *testing.T) {
	m := newMemory()
	require.NoError(t, save(m, 1, "a"))
	c, _, err := Latest(m.reboot(true), "out")
	require.NoError(t, err)
	requireWhole(t, c, 1, "a")
}

func TestFlippedByteInEachFileIsFound(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, save(Files{}, 1, "a"))
	require.NoError(t, save(Files{}, 2, "a"))
	files, err := filepath.Glob("out/checkpoint-2/*")
	require.NoError(t, err)
	require.Len(t, files, 4)
	for _, file := range files {
		whole, err := os.ReadFile(file)
		require.NoError(t, err)
		stride := 1
		if len(whole) > 1000 {
			stride = 97 // data files: some places; the manifest and the state: every byte
		}
		for i := 0; i < len(whole); i += stride {
			damaged := append([]byte(nil), whole...)
			damaged[i] ^= 1 << (i % 8)
			require.NoError(t, os.WriteFile(file, damaged, 0o666))
			c, notes, err := Latest(Files{}, "out")
			require.NoError(t, err)
			require.Equal(t, 1, c.Step, "%s, byte %d", file, i)
			require.Len(t, notes, 1)
			require.Contains(t, notes[0], "checkpoint-2 is passed over: read checkpoint "+filepath.ToSlash(file))
			_, err = Open(Files{}, "out/checkpoint-2")
			require.Error(t, err)
		}
		require.NoError(t, os.WriteFile(file, whole, 0o666))
	}
	c, _, err := Latest(Files{}, "out")
	require.NoError(t, err)
	requireWhole(t, c, 2, "a")
}

func TestMessagesOfDamage(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, test := range []struct {
		damage  func()
		kind    usererr.Kind
		message string
	}{
		{func() { os.Truncate("out/checkpoint-2/optimizer.bin", 100) }, usererr.Format,
			"read checkpoint out/checkpoint-2/optimizer.bin: bad format: truncated: 100 bytes of 7200 (resume from another checkpoint; auto takes " +
				"the newest valid one)"},
		{func() { os.Remove("out/checkpoint-2/adapter.safetensors") }, usererr.Format,
			"read checkpoint out/checkpoint-2/adapter.safetensors: bad format: the file is missing (resume from another checkpoint; auto takes " +
				"the newest valid one)"},
		{func() { os.Remove("out/checkpoint-2/manifest.json") }, usererr.Format,
			"read checkpoint out/checkpoint-2: bad format: there is no manifest.json: it was interrupted while being written or removed, or is no " +
				"checkpoint (resume from another checkpoint; auto takes the newest valid one)"},
		{func() { os.RemoveAll("out/checkpoint-2") }, usererr.Format,
			"read checkpoint out/checkpoint-2: bad format: there is no manifest.json: it was interrupted while being written or removed, or is no " +
				"checkpoint (resume from another checkpoint; auto takes the newest valid one)"},
		{func() {
			os.WriteFile("out/checkpoint-2/manifest.json", []byte(`{"format":"qlora-wgpu checkpoint","version":2}`), 0o666)
		}, usererr.Unsupported,
			"read checkpoint out/checkpoint-2/manifest.json: unsupported: written by a newer version of the program (format 2, this one reads 1) " +
				"(resume from another checkpoint; auto takes the newest valid one)"},
		{func() { os.WriteFile("out/checkpoint-2/manifest.json", []byte(`[]`), 0o666) }, usererr.Format,
			"read checkpoint out/checkpoint-2/manifest.json: bad format: not the manifest of a checkpoint: the value is a list, " +
				"an object was wanted (resume from another checkpoint; auto takes the newest valid one)"},
		{func() { os.WriteFile("out/checkpoint-2/manifest.json", []byte(strings.Repeat(" ", 2<<20)), 0o666) }, usererr.Format,
			"read checkpoint out/checkpoint-2/manifest.json: bad format: 2097152 bytes, at most 1048576 are allowed (resume from another " +
				"checkpoint; auto takes the newest valid one)"},
		{func() {
			m := manifest{Format: formatName, Version: 1, Step: 2, Files: []entry{{Name: stateName}, {Name: "../secret"}}}
			os.WriteFile("out/checkpoint-2/manifest.json", m.encode(), 0o666)
		}, usererr.Format,
			`read checkpoint out/checkpoint-2/manifest.json: bad format: a file is listed wrongly: "../secret" of 0 bytes (resume from another ` +
				`checkpoint; auto takes the newest valid one)`},
	} {
		require.NoError(t, save(Files{}, 2, "a"))
		test.damage()
		_, err := Open(Files{}, "out/checkpoint-2")
		require.EqualError(t, err, test.message)
		require.True(t, usererr.Is(err, test.kind))
		c, notes, err := Latest(Files{}, "out")
		require.NoError(t, err)
		require.Nil(t, c)
		require.LessOrEqual(t, len(notes), 1)
	}
}

func TestRotateKeepsTheHighestGoodOnes(t *testing.T) {
	m := newMemory()
	for _, step := range []int{2, 9, 10, 11, 100} {
		require.NoError(t, save(m, step, "a"))
	}
	m.find("out").entries["notes"] = newFolder()
	m.find("out/checkpoint-100/optimizer.bin").data[5] ^= 1
	m.find("out/checkpoint-10/state.json").data = nil
	require.NoError(t, Rotate(m, "out", 0))
	require.Len(t, m.find("out").entries, 6)

	require.ErrorContains(t, Rotate(m, "out", 2), "out/checkpoint-100 does not verify, and an older one is kept for it: ")
	names, err := m.List("out")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"checkpoint-100", "checkpoint-11", "checkpoint-10", "checkpoint-9", "notes"}, names,
		"the damaged ones count for nothing, what lies below two good ones goes")
	c, notes, err := Latest(m, "out")
	require.NoError(t, err)
	require.Len(t, notes, 1)
	requireWhole(t, c, 11, "a")

	m.find("out/checkpoint-11/optimizer.bin").data[5] ^= 1
	require.ErrorContains(t, Rotate(m, "out", 1), "does not verify")
	c, _, err = Latest(m, "out")
	require.NoError(t, err)
	requireWhole(t, c, 9, "a")
}
