package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel asks before each file operation of a program and its children (seccomp's user notifications): a filter
// that a thread sets stays through exec, and its listener, passed over a socket, says for each call whether it happens,
// fails, or is the program's last. So every operation of a real process can be reached, counted over all its threads,
// without a seam in its code.

// operations are the calls that are asked about, each with the error that a full, broken or forbidden disk gives.
var operations = map[uint32]struct {
	name  string
	fails syscall.Errno
	at    int // argument that is the file: a descriptor, or, where path is set, the folder of the path behind it
	path  bool
	fills bool // it takes room
}{
	unix.SYS_OPENAT:     {"openat", syscall.ENOSPC, 0, true, true},
	unix.SYS_MKDIRAT:    {"mkdirat", syscall.ENOSPC, 0, true, true},
	unix.SYS_UNLINKAT:   {"unlinkat", syscall.EACCES, 0, true, false},
	unix.SYS_RENAMEAT:   {"renameat", syscall.EIO, 0, true, false},
	unix.SYS_NEWFSTATAT: {"newfstatat", syscall.EACCES, 0, true, false},
	unix.SYS_READ:       {"read", syscall.EIO, 0, false, false},
	unix.SYS_PREAD64:    {"pread64", syscall.EIO, 0, false, false},
	unix.SYS_WRITE:      {"write", syscall.ENOSPC, 0, false, true},
	unix.SYS_PWRITE64:   {"pwrite64", syscall.ENOSPC, 0, false, true},
	unix.SYS_FSYNC:      {"fsync", syscall.EIO, 0, false, false},
	unix.SYS_FTRUNCATE:  {"ftruncate", syscall.EIO, 0, false, true},
	unix.SYS_GETDENTS64: {"getdents64", syscall.EIO, 0, false, false},
	unix.SYS_FLOCK:      {"flock", syscall.ENOLCK, 0, false, false},
	unix.SYS_MMAP:       {"mmap", syscall.ENODEV, 4, false, false},
}

// watcherVariable makes this program the one that sets the filter and becomes the program in its arguments.
const watcherVariable = "QLORA_ATTACK_WATCHED"

// becomeWatched is the first half: it does not return where watcherVariable is set.
func becomeWatched() {
	if os.Getenv(watcherVariable) == "" {
		return
	}
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, "watch:", err)
		os.Exit(3)
	}
	runtime.LockOSThread()
	os.Unsetenv(watcherVariable)
	listener, err := setFilter()
	if err != nil {
		fail(err)
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(listener), nil, 0); err != nil {
		fail(err)
	}
	unix.CloseOnExec(3)
	fail(syscall.Exec(os.Args[1], os.Args[1:], os.Environ()))
}

// setFilter asks about the operations of this thread and of what it becomes, and gives the descriptor to answer on.
func setFilter() (int, error) {
	const (
		load, jumpEqual, give  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
		allow, ask             = 0x7fff0000, 0x7fc00000
		number, architecture   = 0, 4 // offsets in seccomp_data
		setModeFilter, listens = 1, 8
	)
	filter := []unix.SockFilter{
		{Code: load, K: architecture}, {Code: jumpEqual, K: unix.AUDIT_ARCH_X86_64, Jt: 1}, {Code: give, K: allow}, {Code: load, K: number},
	}
	for call := range operations {
		filter = append(filter, unix.SockFilter{Code: jumpEqual, K: call, Jf: 1}, unix.SockFilter{Code: give, K: ask})
	}
	filter = append(filter, unix.SockFilter{Code: give, K: allow})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	listener, _, errno := unix.Syscall(unix.SYS_SECCOMP, setModeFilter, listens, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return 0, errno
	}
	return int(listener), nil
}

// watched starts a command so that decide is asked about each operation on a file below one of the folders, one at a
// time. An answer of 0 lets it happen, any other is its error.
func watched(command *exec.Cmd, folders []string, decide func(operation) syscall.Errno) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command.Args = append([]string{self, command.Path}, command.Args[1:]...)
	command.Path = self
	// A signal, as Go's preemption sends them, takes an operation back that is waiting, which then comes again.
	command.Env = append(command.Environ(), watcherVariable+"=1", "GODEBUG=asyncpreemptoff=1")
	command.ExtraFiles = []*os.File{theirs}
	err = command.Start()
	theirs.Close()
	if err != nil {
		return err
	}
	listener, err := receive(ours)
	if err != nil {
		return errUnwatched
	}
	go func() {
		defer unix.Close(listener)
		for {
			o, ok := next(listener)
			if !ok {
				return
			}
			var answer syscall.Errno
			if below(o.File, folders) {
				answer = decide(o)
			}
			reply(listener, o.id, answer)
		}
	}()
	return nil
}

func receive(ours *os.File) (int, error) {
	connection, err := net.FileConn(ours)
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	buffer, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := connection.(*net.UnixConn).ReadMsgUnix(buffer, rights)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return 0, errors.Join(err, errors.New("no listener came"))
	}
	descriptors, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return 0, err
	}
	return descriptors[0], nil
}

const (
	notificationBytes, responseBytes = 80, 24
	receiveRequest, sendRequest      = 0xc0502100, 0xc0182101
	goesOn                           = 1
)

// next waits for an operation; false when the last process is gone.
func next(listener int) (o operation, ok bool) {
	for {
		poll := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err != nil && err != unix.EINTR {
			return o, false
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			if poll[0].Revents != 0 {
				return o, false
			}
			continue
		}
		var n [notificationBytes]byte
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), receiveRequest, uintptr(unsafe.Pointer(&n))); errno != 0 {
			continue // its process has died meanwhile
		}
		u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(n[at:]) }
		call := operations[binary.LittleEndian.Uint32(n[16:])]
		o = operation{id: u64(0), Process: int(binary.LittleEndian.Uint32(n[8:])), Name: call.name, fails: call.fails}
		argument := func(i int) uint64 { return u64(32 + 8*i) }
		o.File = fileOf(o.Process, int32(argument(call.at)))
		o.fills = call.fills && (o.Name != "openat" || argument(2)&unix.O_CREAT != 0)
		if call.path {
			name := textAt(o.Process, argument(call.at+1))
			if !filepath.IsAbs(name) {
				name = filepath.Join(o.File, name)
			}
			o.File = filepath.Clean(name)
		}
		return o, true
	}
}

func reply(listener int, id uint64, fails syscall.Errno) {
	var r [responseBytes]byte
	binary.LittleEndian.PutUint64(r[:], id)
	if fails == 0 {
		binary.LittleEndian.PutUint32(r[20:], goesOn)
	} else {
		binary.LittleEndian.PutUint32(r[16:], uint32(-int32(fails)))
	}
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(listener), sendRequest, uintptr(unsafe.Pointer(&r))) // its process may be dead
}

// fileOf is what a descriptor of a process is; the working folder for AT_FDCWD.
func fileOf(process int, descriptor int32) string {
	name := "cwd"
	if descriptor != unix.AT_FDCWD {
		name = "fd/" + strconv.Itoa(int(descriptor))
	}
	file, _ := os.Readlink(fmt.Sprintf("/proc/%d/%s", process, name))
	return strings.TrimSuffix(file, " (deleted)")
}

// textAt is a text in the memory of a process, which ends with a zero.
func textAt(process int, at uint64) string {
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", process))
	if err != nil {
		return ""
	}
	defer memory.Close()
	text := make([]byte, 4096)
	n, _ := memory.ReadAt(text, int64(at))
	name, _, _ := strings.Cut(string(text[:n]), "\x00")
	return name
}

func below(file string, folders []string) bool {
	for _, folder := range folders {
		if file == folder || strings.HasPrefix(file, folder+"/") {
			return true
		}
	}
	return false
}
