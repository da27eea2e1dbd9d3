package testfiles

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRoot(t *testing.T) {
	_, err := os.Stat(filepath.Join(Root(t), "internal", "testfiles", "testfiles_test.go"))
	require.NoError(t, err)
}

func TestPathsResolveFromTheRepositoryRoot(t *testing.T) {
	t.Setenv("QLORA_REFERENCE_DIR", "internal")
	require.Equal(t, filepath.Join(Root(t), "internal", "testfiles", "testfiles.go"), Reference(t, "testfiles", "testfiles.go"))

	dir := t.TempDir()
	t.Setenv("QLORA_MODELS_DIR", dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "m"), nil, 0o600))
	require.Equal(t, filepath.Join(dir, "m"), Models(t, "m"))

	t.Setenv("QLORA_DATA_DIR", dir)
	require.Equal(t, dir, Data(t))
}

func TestAbsentFileSkipsOrFails(t *testing.T) {
	t.Setenv("QLORA_DATA_DIR", t.TempDir())
	t.Setenv("QLORA_REAL_MODELS_DIR", t.TempDir())
	data := func(t testing.TB) { Data(t, "absent") }
	real := func(t testing.TB) { RealModel(t, "absent") }
	for _, c := range []struct {
		ci      string
		find    func(testing.TB)
		skipped bool
	}{{"", data, true}, {"true", data, false}, {"", real, true}, {"true", real, true}} {
		t.Setenv("CI", c.ci)
		tb := &recorder{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { _ = recover() }()
			c.find(tb)
		}()
		<-done
		require.Equal(t, c.skipped, tb.skipped)
		require.Equal(t, !c.skipped, tb.failed)
	}
}

// recorder notes how a test would have ended.
type recorder struct {
	testing.TB
	skipped, failed bool
}

func (r *recorder) SkipNow()              { r.skipped = true; panic("stop") }
func (r *recorder) Fatalf(string, ...any) { r.failed = true; panic("stop") }
