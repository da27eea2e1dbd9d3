//go:build unix

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
)

// TestInterruptedRuns breaks one and the same run off in every way that happens, and lets it go on: what is left at the
// end has to be what the run leaves that nobody disturbed, to the byte.
func TestInterruptedRuns(t *testing.T) {
	// 22 rows are 11 micro-batches, so the sixth step of an epoch has one instead of two, and checkpoints fall on ends of
	// epochs.
	const steps, rows = 20, 30
	model, data, folder := demotest.Model(t, 1, nil), demotest.Rows(t, rows), t.TempDir()
	train := func(t *testing.T, name string, more ...string) *process {
		return start(t, append([]string{"train", "--model", model, "--data", data, "--output-dir", filepath.Join(folder, name),
			"--max-steps", strconv.Itoa(steps), "--save-steps=3", "--save-total-limit=2", "--val-size=8", "--eval-steps=5",
			"--batch-size=2", "--gradient-accumulation-steps=2", "--lora-r=4", "--lora-dropout=0.1", "--learning-rate=3e-3", "--autotune=off"},
			more...)...)
	}
	undisturbed := train(t, "undisturbed")
	require.Zero(t, undisturbed.end(), undisturbed.text())
	want := readRun(t, filepath.Join(folder, "undisturbed"))
	require.Len(t, want.log, steps+steps/5)
	require.Less(t, want.log[len(want.log)-1]["eval_loss"], want.log[5]["eval_loss"], "the run learns")

	t.Run("killed", func(t *testing.T) {
		dir := filepath.Join(folder, "killed")
		random := rand.New(rand.NewPCG(20, 3))
		wait := func(upTo time.Duration) { time.Sleep(time.Duration(random.Int64N(int64(upTo)))) }
		saving := func() bool {
			found, _ := filepath.Glob(filepath.Join(dir, "checkpoint-*.tmp"))
			return len(found) > 0
		}
		// Each process is killed at a moment of another kind; several of them fall before the first checkpoint or repeat
		// steps.
		inStep := func(p *process) {
			p.waitFor(stepLine, 1+random.IntN(4))
			wait(150 * time.Millisecond)
		}
		inSave := func(p *process) {
			for !saving() && p.runs() {
				time.Sleep(100 * time.Microsecond)
			}
			wait(8 * time.Millisecond)
		}
		afterSave := func(p *process) {
			p.waitFor(savedLine, 1)
			wait(5 * time.Millisecond)
		}
		kills, caught := 0, 0
		for _, moment := range []func(*process){inStep, inSave, inStep, inSave, afterSave, inStep, inSave, inSave, afterSave} {
			p := train(t, "killed", "--resume")
			moment(p)
			if !p.runs() {
				require.Zero(t, p.end(), p.text())
				break
			}
			p.kill()
			kills++
			if saving() {
				caught++
			}
		}
		t.Logf("%d kills, %d of them left a checkpoint half-written", kills, caught)
		require.GreaterOrEqual(t, kills, 6)
		last := train(t, "killed", "--resume")
		require.Zero(t, last.end(), last.text())
		require.Contains(t, last.text(), "Going on from "+dir+"/checkpoint-")
		require.Equal(t, want, readRun(t, dir))
	})

	t.Run("killed before it removed old checkpoints", func(t *testing.T) {
		dir := filepath.Join(folder, "crowded")
		require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(folder, "undisturbed"))))
		require.NoError(t, os.CopyFS(filepath.Join(dir, "checkpoint-15"), os.DirFS(filepath.Join(dir, "checkpoint-18"))))
		p := train(t, "crowded", "--resume")
		require.Zero(t, p.end(), p.text())
		require.Equal(t, want, readRun(t, dir))
	})

	t.Run("Ctrl-C", func(t *testing.T) {
		p := train(t, "stopped")
		p.waitFor(stepLine, 4)
		require.NoError(t, syscall.Kill(-p.command.Process.Pid, syscall.SIGINT)) // a terminal sends it to all
		require.Equal(t, statusInterrupted, p.end(), p.text())
		require.Contains(t, p.text(), "Interrupted. Go on with --resume.\n")
		require.NotContains(t, p.text(), "died")
		done := strings.Count(p.text(), "{'loss'")
		require.Less(t, done, steps)
		require.FileExists(t, filepath.Join(folder, "stopped", fmt.Sprintf("checkpoint-%d", done), "manifest.json"), "what was done is saved")

		p = train(t, "stopped", "--resume")
		require.Zero(t, p.end(), p.text())
		require.Equal(t, steps-done, strings.Count(p.text(), "{'loss'"))
		require.Equal(t, want, readRun(t, filepath.Join(folder, "stopped")))
	})

	t.Run("aborted by the driver", func(t *testing.T) {
		p := train(t, "aborted")
		p.waitFor(stepLine, 4)
		time.Sleep(50 * time.Millisecond) // into the step
		p.abortChild(1)
		p.waitFor(childLine, 2)
		if runtime.GOOS == "linux" {
			environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.child(2)))
			require.NoError(t, err)
			require.Contains(t, string(environment), submitScaleVariable+"=0.5\x00")
		}
		require.Zero(t, p.end(), p.text())
		require.Regexp(t,
			`The training process died: exit status 2\. The last it said:\n(  \| .*\n)+Starting it again from the last checkpoint, `+
				`with submissions to the device 0\.5 times as long as at first \(try 2 of 3\)\.\n`, p.text())
		require.Contains(t, p.text(), "  | SIGABRT: abort\n")
		require.Contains(t, p.text(), "checkpoint-3 after step 3.\n")
		require.Equal(t, want, readRun(t, filepath.Join(folder, "aborted")))
	})

	t.Run("aborted three times", func(t *testing.T) {
		p := train(t, "hopeless")
		for try := range submitScales {
			p.waitFor(childLine, try+1)
			p.abortChild(try + 1)
		}
		require.Equal(t, statusFailure, p.end(), p.text())
		require.Contains(t, p.text(), "error: the training process died 3 times without a new checkpoint in between; giving up.")
		require.Equal(t, 2, strings.Count(p.text(), "Starting it again from the beginning (there is no checkpoint yet)"))
	})
}

// finished is what a run leaves, without what depends on the clock.
type finished struct {
	log   []map[string]any
	files map[string]string
}

func readRun(t *testing.T, dir string) (f finished) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "trainer_log.jsonl"))
	require.NoError(t, err)
	for line := range bytes.Lines(text) {
		var entry map[string]any
		require.NoError(t, json.Unmarshal(line, &entry))
		for _, key := range []string{"seconds", "tokens_per_second", "eval_seconds", "device_bytes"} {
			delete(entry, key)
		}
		f.log = append(f.log, entry)
	}
	f.files = map[string]string{}
	for _, pattern := range []string{
		"adapter_model.safetensors", "adapter_config.json", "checkpoint-*/*.safetensors", "checkpoint-*/adapter_config.json",
	} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, names, pattern)
		for _, name := range names {
			content, err := os.ReadFile(name)
			require.NoError(t, err)
			short, err := filepath.Rel(dir, name)
			require.NoError(t, err)
			f.files[short] = fmt.Sprintf("%x", sha256.Sum256(content))
		}
	}
	return f
}

// process is the program in a process group of its own, with its training child.
type process struct {
	t       *testing.T
	command *exec.Cmd
	done    chan struct{} // closed when it has ended

	mu     sync.Mutex
	output bytes.Buffer  // stdout and stderr
	more   chan struct{} // gets a value after a write
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	p := &process{t: t, command: exec.Command(executable, args...), done: make(chan struct{}), more: make(chan struct{}, 1)}
	p.command.Env = append(os.Environ(), programVariable+"=1")
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.command.Stdout, p.command.Stderr = p, p
	require.NoError(t, p.command.Start())
	go func() {
		_ = p.command.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.output.Write(b)
	select {
	case p.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

const longEnough = 3 * time.Minute

var (
	stepLine  = regexp.MustCompile(`(?m)^{'loss'.*\n`)
	savedLine = regexp.MustCompile(`(?m)^Saved checkpoint-\d+\.\n`)
	childLine = regexp.MustCompile(`(?m)^Training in process (\d+)\.\n`)
)

// waitFor waits until the output holds so many lines of a kind, or the process has ended.
func (p *process) waitFor(line *regexp.Regexp, count int) {
	p.t.Helper()
	late := time.After(longEnough)
	for len(line.FindAllString(p.text(), -1)) < count {
		select {
		case <-p.more:
		case <-p.done:
			return
		case <-late:
			p.t.Fatalf("no %d lines like %s in\n%s", count, line, p.text())
		}
	}
}

func (p *process) runs() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// end waits for the process and gives its exit status.
func (p *process) end() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(longEnough):
		p.t.Fatalf("it does not end:\n%s", p.text())
	}
	return p.command.ProcessState.ExitCode()
}

// kill ends the process and its child at once, with nothing that they could do about it.
func (p *process) kill() {
	if p.runs() {
		_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// child is the process id of the try-th training process.
func (p *process) child(try int) int {
	p.t.Helper()
	lines := childLine.FindAllStringSubmatch(p.text(), -1)
	require.GreaterOrEqual(p.t, len(lines), try, p.text())
	id, err := strconv.Atoi(lines[try-1][1])
	require.NoError(p.t, err)
	return id
}

func (p *process) abortChild(try int) {
	p.t.Helper()
	require.NoError(p.t, syscall.Kill(p.child(try), syscall.SIGABRT), p.text())
}
