package checkpoint

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A crash at every operation of a replacement, with the unsynced bytes and names lost and kept, leaves the old or the
// new content whole, and the new one where WriteFile returned; one operation that fails leaves no file beside it.
func TestAFileIsReplacedWholeOrNotAtAll(t *testing.T) {
	base := newMemory()
	require.NoError(t, base.MakeDir("out"))
	require.NoError(t, WriteBytes(base, "out/file", []byte("the old content")))
	for _, once := range []bool{false, true} {
		done := false
		for k := 1; !done; k++ {
			m := base.reboot(true)
			m.failAt, m.failOnce = k, once
			done = WriteBytes(m, "out/file", []byte("what is new")) == nil
			if once {
				require.Equal(t, []string{"file"}, slices.Collect(maps.Keys(m.root.entries["out"].entries)), "operation %d", k)
			}
			for _, lose := range []bool{false, true} {
				what := fmt.Sprintf("operation %d, once %t, unsynced lost %t", k, once, lose)
				content, err := ReadBytes(m.reboot(lose), "out/file", 1<<20)
				require.NoError(t, err, what)
				if done {
					require.Equal(t, "what is new", string(content), what)
				} else {
					require.Contains(t, []string{"the old content", "what is new"}, string(content), what)
				}
			}
		}
	}
}
