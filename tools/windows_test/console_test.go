//go:build windows

package windows_test

import (
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/windows"
)

var (
	kernel32                 = windows.NewLazySystemDLL("kernel32.dll")
	attachConsole            = kernel32.NewProc("AttachConsole")
	freeConsole              = kernel32.NewProc("FreeConsole")
	setConsoleCtrlHandler    = kernel32.NewProc("SetConsoleCtrlHandler")
	generateConsoleCtrlEvent = kernel32.NewProc("GenerateConsoleCtrlEvent")
	createRemoteThread       = kernel32.NewProc("CreateRemoteThread")
	ctrlRoutine              = kernel32.NewProc("CtrlRoutine")
	suspendProcess           = windows.NewLazySystemDLL("ntdll.dll").NewProc("NtSuspendProcess")
)

// ctrlC presses Ctrl-C in the program's console: all processes there get it.
func (p *program) ctrlC() {
	p.t.Helper()
	_, _, _ = freeConsole.Call() // of the test's own, if it has one
	ok, _, err := attachConsole.Call(uintptr(p.command.Process.Pid))
	require.NotZero(p.t, ok, "attach console: %v", err)
	_, _, _ = setConsoleCtrlHandler.Call(0, 1)
	ok, _, err = generateConsoleCtrlEvent.Call(windows.CTRL_C_EVENT, 0)
	require.NotZero(p.t, ok, "press Ctrl-C: %v", err)
	time.Sleep(100 * time.Millisecond)
	_, _, _ = freeConsole.Call()
	_, _, _ = setConsoleCtrlHandler.Call(0, 0) // what the test starts would inherit it
}

// closeConsole does what Windows does when the window of a console is closed: it calls the handlers of each process,
// and ends what is still there after five seconds. It returns how long they took.
func closeConsole(t *testing.T, pids ...uint32) time.Duration {
	t.Helper()
	const access = windows.PROCESS_CREATE_THREAD | windows.PROCESS_QUERY_INFORMATION | windows.PROCESS_VM_OPERATION |
		windows.PROCESS_VM_WRITE | windows.PROCESS_VM_READ | windows.PROCESS_TERMINATE | windows.SYNCHRONIZE
	var handles []windows.Handle
	for _, pid := range pids {
		handles = append(handles, open(t, pid, access))
	}
	require.NoError(t, ctrlRoutine.Find())
	start := time.Now()
	for _, h := range handles {
		thread, _, err := createRemoteThread.Call(uintptr(h), 0, 0, ctrlRoutine.Addr(), windows.CTRL_CLOSE_EVENT, 0, 0)
		require.NotZero(t, thread, "call the handlers: %v", err)
		_ = windows.CloseHandle(windows.Handle(thread))
	}
	for _, h := range handles {
		if !gone(h, 5*time.Second-time.Since(start)) {
			_ = windows.TerminateProcess(h, windows.CTRL_CLOSE_EVENT)
			t.Error("a process was still there after five seconds")
		}
	}
	return time.Since(start)
}

const endless = 1000000

func TestCtrlCSaves(t *testing.T) {
	dir := tempDir(t)
	model, data := files(t, dir)
	out := filepath.Join(dir, "out")
	p := start(t, dir, training(model, data, out, endless)...)
	child := open(t, p.child(), windows.SYNCHRONIZE)
	p.says(`(?s)'epoch': .*'epoch': `)
	p.ctrlC()
	require.Equal(t, statusInterrupted, p.wait())
	require.True(t, gone(child, time.Second))
	saved, err := filepath.Glob(filepath.Join(out, "checkpoint-*", "manifest.json"))
	require.NoError(t, err)
	require.Len(t, saved, 1)
}

func TestClosingTheConsoleSaves(t *testing.T) {
	dir := tempDir(t)
	model, data := files(t, dir)
	out := filepath.Join(dir, "out")
	p := start(t, dir, training(model, data, out, endless)...)
	child := p.child()
	p.says(`(?s)'epoch': .*'epoch': `)
	t.Logf("saved and ended after %v", closeConsole(t, uint32(p.command.Process.Pid), child))
	p.wait()
	saved, err := filepath.Glob(filepath.Join(out, "checkpoint-*", "manifest.json"))
	require.NoError(t, err)
	require.Len(t, saved, 1)
	p = start(t, dir, training(model, data, out, endless, "--resume")...)
	p.says(`'epoch': `)
}

// A child that does not see that its parent is gone, because a driver holds it, is ended by the system.
func TestKilledParentLeavesNobody(t *testing.T) {
	dir := tempDir(t)
	model, data := files(t, dir)
	p := start(t, dir, training(model, data, filepath.Join(dir, "out"), endless)...)
	child := open(t, p.child(), windows.SYNCHRONIZE|windows.PROCESS_SUSPEND_RESUME|windows.PROCESS_TERMINATE)
	p.says(`'epoch': `)
	status, _, _ := suspendProcess.Call(uintptr(child))
	require.Zero(t, status)
	require.NoError(t, p.command.Process.Kill())
	if !gone(child, 10*time.Second) {
		_ = windows.TerminateProcess(child, 1)
		require.Fail(t, "it is still there")
	}
}

// A killed child starts again from the last checkpoint, to the same bytes.
func TestKilledChildStartsAgain(t *testing.T) {
	dir := tempDir(t)
	model, data := files(t, dir)
	args := func(out string) []string {
		return training(model, data, filepath.Join(dir, out), 30, "--save-steps", "2")
	}
	runs(t, dir, args("undisturbed")...)
	p := start(t, dir, args("disturbed")...)
	child := open(t, p.child(), windows.PROCESS_TERMINATE)
	p.says(`(?s)('epoch': .*){4}`)
	require.NoError(t, windows.TerminateProcess(child, 3221225477)) // as an access violation does
	require.Zero(t, p.wait())
	require.Contains(t, p.out.String(), "Starting it again from the last checkpoint")
	require.Equal(t, read(t, dir, "undisturbed", weights), read(t, dir, "disturbed", weights))
}

func TestWeb(t *testing.T) {
	p := start(t, tempDir(t), "web", "--addr", "127.0.0.1:0")
	address := p.says(`The page is at (http://\S+)\.\s`)[1]
	for path, kind := range map[string]string{"/": "text/html; charset=utf-8", "/page.js": "text/javascript; charset=utf-8"} {
		answer, err := http.Get(address + path)
		require.NoError(t, err)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.StatusCode, path)
		require.Equal(t, kind, answer.Header.Get("Content-Type"))
		require.NotEmpty(t, body)
	}
	p.ctrlC()
	p.wait()
	_, err := http.Get(address)
	require.Error(t, err)
}
