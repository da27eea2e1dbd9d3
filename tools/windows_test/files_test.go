//go:build windows

package windows_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/windows"
)

// hold opens a file, as soon as it is there, as most programs do: so that others can neither replace nor remove it.
func hold(t *testing.T, elements ...string) *os.File {
	t.Helper()
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		f, err := os.Open(filepath.Join(elements...))
		if err != nil && time.Since(start) < time.Minute {
			continue
		}
		require.NoError(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
}

// A virus scanner or an indexer looks into a file for a moment: the run waits for it.
func TestAdapterThatIsReadForAMoment(t *testing.T) {
	dir := tempDir(t)
	model, data := files(t, dir)
	out := filepath.Join(dir, "out")
	args := training(model, data, out, 30, "--save-steps", "10")
	runs(t, dir, args...)
	want := read(t, out, weights)
	require.NoError(t, os.WriteFile(filepath.Join(out, weights), []byte("of another run"), 0o666))
	cutBack(t, out, 30)
	p := start(t, dir, append(args, "--resume")...)
	p.says(`'epoch': `)
	held := hold(t, out, weights)
	p.says(`'epoch': 0\.19`)
	time.Sleep(700 * time.Millisecond)
	require.NoError(t, held.Close())
	require.Zero(t, p.wait())
	require.Equal(t, want, read(t, out, weights))
}

// Whoever holds the adapter longer keeps it from being replaced; nothing of the run is lost, and the message says why.
func TestAdapterThatStaysOpen(t *testing.T) {
	dir := tempDir(t)
	model, data := files(t, dir)
	out := filepath.Join(dir, "out")
	args := training(model, data, out, 4, "--save-steps", "2")
	runs(t, dir, args...)
	want := read(t, out, weights)
	require.NoError(t, os.WriteFile(filepath.Join(out, weights), []byte("of another run"), 0o666))
	cutBack(t, out, 4)
	held := hold(t, out, weights)
	p := start(t, dir, append(args, "--resume")...)
	require.NotZero(t, p.wait())
	require.Contains(t, p.out.String(), "another program may have it open")
	require.Contains(t, p.out.String(), weights)
	require.NoError(t, held.Close())
	runs(t, dir, append(args, "--resume")...)
	require.Equal(t, want, read(t, out, weights))
}

// An old checkpoint of which a file is open cannot be removed: the run goes on, and the next rotation removes it.
func TestRotationBesideAReader(t *testing.T) {
	dir := tempDir(t)
	model, data := files(t, dir)
	out := filepath.Join(dir, "out")
	args := func(steps int, more ...string) []string {
		return training(model, data, out, steps, append(more, "--save-steps", "10", "--save-total-limit", "2")...)
	}
	p := start(t, dir, args(60)...)
	held := hold(t, out, "checkpoint-10", "manifest.json")
	require.Zero(t, p.wait())
	require.Contains(t, p.out.String(), "warning: ")
	for _, name := range []string{"checkpoint-50", "checkpoint-60"} {
		require.FileExists(t, filepath.Join(out, name, "manifest.json"))
	}
	require.NoDirExists(t, filepath.Join(out, "checkpoint-40"))
	require.NoError(t, held.Close())
	cutBack(t, out, 60)
	runs(t, dir, append(args(60), "--resume")...)
	found, err := filepath.Glob(filepath.Join(out, "checkpoint-*"))
	require.NoError(t, err)
	require.Len(t, found, 2)
}

// A log that somebody reads is written on; going on wants to cut what a killed try wrote, and waits or says why not.
func TestLogThatIsRead(t *testing.T) {
	dir := tempDir(t)
	model, data := files(t, dir)
	out := filepath.Join(dir, "out")
	args := training(model, data, out, 30, "--save-steps", "10")
	p := start(t, dir, args...)
	p.says(`'epoch': `)
	held := hold(t, out, "trainer_log.jsonl")
	require.Zero(t, p.wait())
	want := read(t, out, "trainer_log.jsonl")
	cutBack(t, out, 30)
	p = start(t, dir, append(args, "--resume")...)
	if p.wait() != 0 {
		require.Contains(t, p.out.String(), "another program may have it open")
		require.Contains(t, p.out.String(), "trainer_log.jsonl")
		require.NoError(t, held.Close())
		runs(t, dir, append(args, "--resume")...)
	}
	require.FileExists(t, filepath.Join(out, "checkpoint-30", "manifest.json"))
	require.Equal(t, bytes.Count(want, []byte("\n")), bytes.Count(read(t, out, "trainer_log.jsonl"), []byte("\n")))
}

// A run that is to be replaced stays whole while somebody has one of its files open.
func TestReplacingARun(t *testing.T) {
	dir := tempDir(t)
	model, data := files(t, dir)
	out := filepath.Join(dir, "out")
	runs(t, dir, training(model, data, out, 2, "--save-steps", "1")...)
	held := hold(t, out, "checkpoint-1", "manifest.json")
	p := start(t, dir, training(model, data, out, 1, "--overwrite")...)
	require.Equal(t, statusUserError, p.wait())
	require.Contains(t, p.out.String(), "another program may have it open")
	require.NoError(t, held.Close())
	runs(t, dir, training(model, data, out, 1, "--overwrite")...)
	require.NoDirExists(t, filepath.Join(out, "checkpoint-2"))
	require.FileExists(t, filepath.Join(out, weights))
}

// A second run in a folder that a run writes is refused, and the lock dies with its holder.
func TestOneRunAFolder(t *testing.T) {
	dir := tempDir(t)
	model, data := files(t, dir)
	out := filepath.Join(dir, "out")
	first := start(t, dir, training(model, data, out, 1000000, "--save-steps", "2")...)
	child := open(t, first.child(), windows.SYNCHRONIZE)
	first.says(`'epoch': `)
	second := start(t, dir, training(model, data, out, 1000000, "--resume")...)
	require.Equal(t, statusUserError, second.wait())
	require.Regexp(t, `(?i)another (run|process)|process \d+`, second.out.String())
	require.NoError(t, first.command.Process.Kill())
	require.True(t, gone(child, 10*time.Second))
	third := start(t, dir, training(model, data, out, 1000000, "--resume")...)
	third.says(`'epoch': `)
}

// A quantized model is mapped: it cannot be removed while a run uses it, and is afterwards.
func TestCache(t *testing.T) {
	dir := tempDir(t)
	model, data := files(t, dir)
	cache := filepath.Join(dir, "cache")
	args := func(out string, steps int, more ...string) []string {
		return training(model, data, filepath.Join(dir, out), steps, append(more, "--cache-dir", cache)...)
	}
	require.Contains(t, runs(t, dir, args("first", 1)...), "is cached for the next start")
	streaming := start(t, dir, args("second", 1000000, "--vram-budget", "3.7MiB")...)
	streaming.says("comes from the cache")
	streaming.says("layers +5 of 5 streamed")
	streaming.says(`'epoch': `)
	inUse := start(t, dir, "cache", "--clear", "--cache-dir", cache)
	inUse.wait()
	require.Contains(t, inUse.out.String(), "a run uses it")
	streaming.says(`(?s)'epoch': .*'epoch': `) // and it goes on
	require.NoError(t, streaming.command.Process.Kill())
	<-streaming.ended
	time.Sleep(time.Second)
	runs(t, dir, "cache", "--clear", "--cache-dir", cache)
	left, err := filepath.Glob(filepath.Join(cache, "nf4", "*.nf4"))
	require.NoError(t, err)
	require.Empty(t, left)
}
