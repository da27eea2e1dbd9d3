//go:build unix

package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	becomeWatched()
	letHangupsThrough()
	os.Exit(m.Run())
}

// TestAttacks is about a minute of what `make test-attack` does in hours: each time other operations, moments, signals
// and phases. The seeds of all fuzzing targets run with the tests of their packages.
func TestAttacks(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	s, err := newSubject(t.TempDir())
	require.NoError(t, err)
	all := func(trial) func(operation) bool { return every }
	n, err := s.countOperations(all)
	if err == errUnwatched {
		t.Skip(err)
	}
	require.NoError(t, err)
	require.Greater(t, n, 300, "operations on the files of a run")
	for i := range 2 {
		k, fail := 1+random.IntN(n), s.failOperation
		if i > 0 {
			k, fail = 1+random.IntN(n/5), s.fillDisk
		}
		outcome, err := fail(k)
		if err != errMissed {
			require.NoError(t, err, "operation %d fails", k)
			t.Logf("operation %d fails: %s", k, outcome)
		}
		k = 1 + random.IntN(n*9/10) // those on model and data do not count here
		if outcome, err = s.killAtOperation(k); err != errMissed {
			require.NoError(t, err, "killed before operation %d", k)
			t.Logf("killed before operation %d: %s", k, outcome)
		}
		at, with := phases[random.IntN(len(phases))], shots[random.IntN(len(shots))]
		outcome, err = s.shoot(at, with)
		require.NoError(t, err)
		t.Logf("%s while %s: %s", with.name, at.name, outcome)
	}
}

// A run that nobody disturbs comes through every phase: one that is named after a file or a line of before is an attack
// that never happens.
func TestEveryPhaseComes(t *testing.T) {
	s, err := newSubject(t.TempDir())
	require.NoError(t, err)
	undisturbed, came := s.trial(), map[string]bool{}
	p, err := undisturbed.start(func(o operation) syscall.Errno {
		for _, phase := range phases {
			if phase.at != nil && phase.at(undisturbed, o) {
				came[phase.name] = true
			}
		}
		return 0
	})
	if err == errUnwatched {
		t.Skip(err)
	}
	require.NoError(t, err)
	status, err := p.end()
	require.NoError(t, err)
	require.Zero(t, status, p.text())
	for _, phase := range phases {
		require.True(t, came[phase.name] || phase.line != nil && phase.line.MatchString(p.text()), phase.name)
	}
}

// An attack that comes to nothing, or a run that leaves something else, has to be noticed.
func TestWhatIsNoticed(t *testing.T) {
	for _, text := range []string{
		"goroutine 1 [running]:", "error: internal error: x", "error: read m: &{0xc000123456}", "error: read m: %!d(string=x)",
	} {
		require.Error(t, shaped(text), text)
	}
	require.NoError(t, explained("Device: x\nerror: save out/checkpoint-2: write adapter.safetensors: no space left on device\n"))
	require.Error(t, explained("Device: x\n"), "nothing is said")
	require.Error(t, explained("error: a b: c\nerror: a b: c\n"), "said twice")

	want := finished{log: []string{"1", "2"}, files: map[string]string{"a": "1", "b": ""}}
	require.NoError(t, want.differs(finished{log: []string{"1", "2"}, files: map[string]string{"a": "1", "b": ""}}))
	require.ErrorContains(t, finished{log: []string{"1"}, files: want.files}.differs(want), "the log has 1 lines")
	require.EqualError(t, finished{log: want.log, files: map[string]string{"a": "2", "c": ""}}.differs(want),
		"a has other bytes, b is missing, c is left over")

	require.Equal(t, []int{1, 2, 3}, some(3, 0))
	require.Equal(t, []int{1, 26, 51, 76}, some(100, 4))
	require.Equal(t, "2,000,000", grouped(2_000_000))
	require.Equal(t, "999", grouped(999))
	require.Equal(t, 12, lastCount("fuzz: elapsed: 3s, execs: 5 (1/sec)\nfuzz: elapsed: 6s, execs: 12 (2/sec)\nok"))
}

func TestTableKeepsTheOtherLines(t *testing.T) {
	name := filepath.Join(t.TempDir(), "reliability.md")
	require.NoError(t, os.WriteFile(name, []byte("# A\n\n| target |\n|---|\n| `a` | old |\n| `b` | old |\n\nMore.\n"), 0o666))
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, n := range []string{"a", "c"} {
		require.NoError(t, renew(name, n, row(target{name: n, what: "what"}, "2", "held", "abc", day)))
	}
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "# A\n\n| target |\n|---|\n| `a` | what | 2 | held | abc, 2026-01-02 |\n| `b` | old |\n"+
		"| `c` | what | 2 | held | abc, 2026-01-02 |\n\nMore.\n", string(text))
}

// Each fuzzing target that the project has is one that is run.
func TestEveryFuzzingTargetIsRun(t *testing.T) {
	run := map[string]bool{}
	for _, c := range campaigns {
		run[c.pkg+" "+c.function] = true
	}
	require.NoError(t, filepath.WalkDir("../..", func(name string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git") {
			return filepath.SkipDir
		}
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := os.ReadFile(name)
		for line := range strings.Lines(string(text)) {
			if function, ok := strings.CutPrefix(line, "func Fuzz"); ok {
				function, _, _ = strings.Cut(function, "(")
				pkg, _ := filepath.Rel("../..", filepath.Dir(name))
				require.True(t, run[filepath.ToSlash(pkg)+" Fuzz"+function], "%s in %s has no line in the table", function, name)
			}
		}
		return err
	}))
}
