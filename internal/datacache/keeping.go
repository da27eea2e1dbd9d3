//go:build !js

package datacache

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json/v2"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"syscall"

	"github.com/gofrs/flock"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataset"
)

// keeping writes a file: the tokens into one that becomes it, the records into another until the tokens are all there.
type keeping struct {
	store           *Store
	key             string
	lock            *flock.Flock
	need            int64 // bytes of tokens, as estimated
	file, aside     *os.File
	tokens, records *bufio.Writer
	head            header
	buffer          []byte
	looked          uint64 // tokens when the disk's room was looked at
}

const (
	// spare is room on a disk that samples leave to others.
	spare = 64 << 20
	// lookEvery so many tokens the disk's room is looked at.
	lookEvery = spare / tokenBytes
)

func (k *keeping) begin() (err error) {
	if err := k.room(k.need + spare); err != nil {
		return err
	}
	temp := func() (*os.File, error) { return os.CreateTemp(k.store.dir, k.key[:40]+"-*"+temporary) }
	if k.file, err = temp(); err != nil {
		return k.store.fail(err)
	}
	if k.aside, err = temp(); err != nil {
		return k.store.fail(err)
	}
	k.tokens, k.records = bufio.NewWriterSize(k.file, 1<<20), bufio.NewWriterSize(k.aside, 1<<18)
	k.head = header{Version: formatVersion, FirstTarget: math.MaxInt32, Key: sha256.Sum256([]byte(k.key))}
	copy(k.head.Magic[:], magic)
	_, err = k.tokens.Write(make([]byte, headerBytes))
	return k.failed(err)
}

// room wants so many free bytes.
func (k *keeping) room(need int64) error {
	free, err := checkpoint.Files{}.Free(k.store.dir)
	if err == nil && free >= 0 && free < need {
		return k.store.noRoom(free, max(need, k.need+spare))
	}
	return nil
}

// failed says why nothing can be written.
func (k *keeping) failed(err error) error {
	if err == nil {
		return nil
	}
	if free, unknown := (checkpoint.Files{}).Free(k.store.dir); unknown == nil && free >= 0 && free < 1<<20 || errors.Is(err, syscall.ENOSPC) {
		return k.store.noRoom(max(free, 0), k.need+spare)
	}
	return k.store.fail(err)
}

// Add implements dataset.Keeping.
func (k *keeping) Add(sample dataset.Sample) error {
	k.buffer = k.buffer[:0]
	for i, id := range sample.IDs {
		if sample.Labels[i] != notTarget {
			if k.head.FirstTarget = min(k.head.FirstTarget, uint32(i)); id != uint32(sample.Labels[i]) {
				return fmt.Errorf("sample of row %d: the label of token %d is another token", sample.Row, i)
			}
			id |= targetBit
		}
		k.buffer = binary.LittleEndian.AppendUint32(k.buffer, id)
	}
	r := record{k.head.Tokens, uint32(len(sample.IDs)), uint32(sample.Row), uint32(sample.Turns), crc32.Checksum(k.buffer, castagnoli)}
	if _, err := k.tokens.Write(k.buffer); err != nil {
		return k.failed(err)
	}
	k.buffer = r.append(k.buffer[:0])
	k.head.Records = crc32.Update(k.head.Records, castagnoli, k.buffer)
	if _, err := k.records.Write(k.buffer); err != nil {
		return k.failed(err)
	}
	k.head.Samples++
	if k.head.Tokens += uint64(len(sample.IDs)); k.head.Tokens-k.looked >= lookEvery {
		k.looked = k.head.Tokens
		return k.room(spare)
	}
	return nil
}

// Finish implements dataset.Keeping.
func (k *keeping) Finish(report dataset.Report) (dataset.Samples, error) {
	err := k.publish(report)
	if err != nil {
		k.Discard()
		return nil, k.failed(err)
	}
	found, _, err := k.store.Find(k.key)
	unlock(k.lock, found != nil)
	if found == nil && err == nil {
		err = k.store.fail(errors.New("the samples that were just written cannot be read"))
	}
	return found, err
}

func (k *keeping) publish(report dataset.Report) error {
	text, err := json.Marshal(report)
	if err != nil {
		return err
	}
	k.head.Report, k.head.ReportSum = uint64(len(text)), crc32.Checksum(text, castagnoli)
	if err := k.records.Flush(); err != nil {
		return err
	}
	if _, err := io.Copy(k.tokens, io.NewSectionReader(k.aside, 0, recordBytes*int64(k.head.Samples))); err != nil {
		return err
	}
	if _, err := k.tokens.Write(text); err != nil {
		return err
	}
	if err := k.tokens.Flush(); err != nil {
		return err
	}
	if _, err := k.file.WriteAt(k.head.encode(), 0); err != nil {
		return err
	}
	if err := k.file.Sync(); err != nil {
		return err
	}
	if err := k.file.Close(); err != nil {
		return err
	}
	if err := (checkpoint.Files{}).Rename(k.file.Name(), k.store.path(k.key)); err != nil {
		return err
	}
	_ = checkpoint.Files{}.SyncDir(k.store.dir) // without it the file may be gone after a power cut, and is made again
	_ = k.aside.Close()
	_ = os.Remove(k.aside.Name())
	return nil
}

// Discard implements dataset.Keeping.
func (k *keeping) Discard() {
	for _, f := range []*os.File{k.file, k.aside} {
		if f != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}
	unlock(k.lock, false)
}
