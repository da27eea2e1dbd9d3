//go:build !js

package runlock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"

	"qlora-wgpu/internal/usererr"
)

// FileName is the lock's file in the folder. It stays when its holder is killed, and where an open file cannot be
// removed; that means nothing.
const FileName = ".qlora-wgpu.lock"

// patience is for a holder that has just been killed: some systems take a moment to let its locks go.
const patience = time.Second

// Lock is a folder's lock. That of a child whose parent holds it, or of a file system without locks, holds nothing.
type Lock struct {
	held *flock.Flock // nil: nothing
	made []string     // folders that were made for it, the innermost first
}

// holder is what the file says, at infoOffset: the first byte is what gofrs/flock locks on Windows, where nobody else
// can read it then.
type holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

const infoOffset, infoBytes = 1, 512

// Take locks dir for this process, and makes it where it is not there. While another process, or another run of this
// one, holds it, by whatever path, the error is a *usererr.Error that names the holder. warn is told where there are no
// locks.
func Take(dir string, warn func(message string)) (*Lock, error) {
	l := &Lock{}
	if os.Getenv(variable) == strconv.Itoa(os.Getppid()) {
		return l, nil
	}
	name := filepath.Join(dir, FileName)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		if err := l.makeFolder(dir); err != nil {
			l.Release()
			return nil, usererr.New("prepare output folder", dir, "%w", err)
		}
		if other, err := os.Lstat(name); err == nil && (!other.Mode().IsRegular() || other.Size() > infoOffset+infoBytes) {
			warn(fmt.Sprintf("%s cannot be locked (%s is no lock of this program): see to it that no other run writes there.", dir, name))
			return l, nil
		}
		f := flock.New(name, flock.SetPermissions(0o666))
		locked, err := f.TryLockContext(ctx, patience/20)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			l.Release()
			return nil, usererr.New("lock output folder", dir, "%s", readHolder(name)).
				Hinted("wait until it ends, or choose another --output-dir")
		case errors.Is(err, os.ErrNotExist): // the holder before removed its folder meanwhile
			continue
		case err != nil || !locked:
			warn(fmt.Sprintf("%s cannot be locked (%v): see to it that no other run writes there.", dir, err))
			return l, nil
		}
		if isNamed(f, name) {
			l.held = f
			writeHolder(name)
			return l, nil
		}
		_ = f.Unlock() // the holder before removed the file meanwhile
	}
}

// makeFolder makes dir and its parents.
func (l *Lock) makeFolder(dir string) error {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, os.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		l.made = append(l.made, at)
	}
	return os.MkdirAll(dir, 0o777)
}

// isNamed tells whether the locked file is the one that others find under its name.
func isNamed(f *flock.Flock, name string) bool {
	locked, err := f.Stat()
	if err != nil {
		return false
	}
	found, err := os.Lstat(name)
	return err == nil && os.SameFile(locked, found)
}

// Release lets the folder go, and removes what Take made, a folder only if nothing else came into it. A nil lock is
// released already.
func (l *Lock) Release() {
	if l == nil {
		return
	}
	if l.held != nil {
		_ = os.Remove(l.held.Path()) // while nobody else can hold it
		_ = l.held.Unlock()
		l.held = nil
	}
	for _, dir := range l.made {
		_ = os.Remove(dir)
	}
	l.made = nil
}

// variable names in a child's environment the parent that holds the lock for it.
const variable = "QLORA_RUN_LOCK"

// Environment is what a child of this process needs in its environment so that the lock that this process holds, now
// and between two children, counts for it.
func Environment() string { return variable + "=" + strconv.Itoa(os.Getpid()) }

// writeHolder says in the file who holds it. Where that fails, who is refused is not told by whom.
func writeHolder(name string) {
	host, _ := os.Hostname() // an empty one says so
	info, err := json.Marshal(holder{PID: os.Getpid(), Host: host, Since: time.Now().Truncate(time.Second)})
	if err != nil || len(info) > infoBytes {
		return
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	padded := fmt.Appendf(nil, "%-*s", infoBytes, info) // over that of the holder before
	_, _ = f.WriteAt(padded, infoOffset)
}

// readHolder says who holds the file.
func readHolder(name string) string {
	const unknown = "another process trains into it"
	f, err := os.Open(name)
	if err != nil {
		return unknown
	}
	defer f.Close()
	var h holder
	if json.NewDecoder(io.NewSectionReader(f, infoOffset, infoBytes)).Decode(&h) != nil || h.PID == 0 {
		return unknown
	}
	return fmt.Sprintf("process %d on %.100q trains into it since %s", h.PID, h.Host, h.Since.Local().Format(time.DateTime))
}
