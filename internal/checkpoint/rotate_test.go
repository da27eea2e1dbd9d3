//go:build !js

package checkpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Wherever removing an old checkpoint ends, nothing that is half there has the name of a checkpoint, and the next
// rotation, or the next start, takes the rest away.
func TestACrashInRemovingLeavesNoHalfCheckpoint(t *testing.T) {
	base := newMemory()
	for step := 1; step <= 3; step++ {
		require.NoError(t, save(base, step, "a"))
	}
	whole := base.find("out/checkpoint-1").size()
	halves, done := 0, false
	for k := 1; !done; k++ {
		m := base.reboot(true)
		m.failAt = k
		done = Rotate(m, "out", 2) == nil && m.operations < k
		for _, lose := range []bool{false, true} {
			what := fmt.Sprintf("operation %d, unsynced lost %t", k, lose)
			after := m.reboot(lose)
			for name, folder := range after.find("out").entries {
				if strings.HasSuffix(name, removedSuffix) {
					halves++
					continue
				}
				require.Equal(t, whole, folder.size(), "%s: %s", what, name)
			}
			c, notes, err := Latest(after, "out")
			require.NoError(t, err, what)
			require.Empty(t, notes, what)
			requireWhole(t, c, 3, "a")
			again := after.reboot(true)
			require.NoError(t, Rotate(after, "out", 2), what)
			require.Len(t, after.find("out").entries, 2, what)
			require.NoError(t, Clean(again, "out"), what)
			for name := range again.find("out").entries {
				require.NotContains(t, name, removedSuffix, what)
			}
		}
	}
	require.Greater(t, halves, 5)
}

// What cannot be removed is told, hinders no save, and goes with the next rotation. On Windows a file that somebody has
// open does that, elsewhere the rights of a folder.
func TestWhatCannotBeRemovedGoesLater(t *testing.T) {
	for _, name := range []string{"out/checkpoint-1", "out/checkpoint-1" + removedSuffix} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			m := newMemory()
			require.NoError(t, save(m, 1, "a"))
			require.NoError(t, save(m, 2, "a"))
			if filepath.Base(name) != "checkpoint-1" {
				require.NoError(t, m.Rename("out/checkpoint-1", name))
			}
			m.stuck = m.find(name)
			require.ErrorIs(t, Rotate(m, "out", 1), errStuck)
			require.NotNil(t, m.find("out/checkpoint-2"), "the others are as they should be")
			require.NoError(t, save(m, 3, "a"))
			require.ErrorIs(t, Rotate(m, "out", 1), errStuck)
			require.Nil(t, m.find("out/checkpoint-2"))
			m.stuck = nil
			require.NoError(t, Rotate(m, "out", 1))
			require.Len(t, m.find("out").entries, 1)
		})
	}
}

// /proc is a file system that cannot sync its folders.
func TestFoldersThatCannotBeSynced(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no folder is known that cannot be synced")
	}
	f, err := os.Open("/proc/self")
	require.NoError(t, err)
	defer f.Close()
	require.Error(t, f.Sync())
	require.NoError(t, Files{}.SyncDir("/proc/self"))
	require.ErrorIs(t, Files{}.SyncDir(filepath.Join(t.TempDir(), "missing")), os.ErrNotExist)
}
