//go:build !js

package nf4cache

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/edsrzf/mmap-go"
	"golang.org/x/sync/errgroup"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/files"
)

// A file is a header and the parts, each from a multiple of 4,096 bytes on. The header, little endian: magic; version
// and number of parts, u32; key, 32 bytes; of each part the size, u64, the CRC-32C of its bytes, u32, and u32 0; the
// CRC-32C of all that, u32.
const (
	magic           = "QLORANF4"
	formatVersion   = 1 // counts changes of what the bytes mean, in the regions too
	pageBytes       = 4096
	temporarySuffix = ".tmp"
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errDamaged = errors.New("damaged")
)

func toPage(n int64) int64 { return (n + pageBytes - 1) / pageBytes * pageBytes }

// headerSize is where the first part begins.
func headerSize(parts int) int64 { return toPage(int64(len(magic) + 8 + sha256.Size + 16*parts + 4)) }

func fileSize(sizes []int64) int64 {
	total := headerSize(len(sizes))
	for _, n := range sizes {
		total += toPage(n)
	}
	return total
}

func encodeHeader(key [sha256.Size]byte, sizes []int64, sums []uint32) []byte {
	b := []byte(magic)
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(sizes)))
	b = append(b, key[:]...)
	for i, n := range sizes {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
		b = binary.LittleEndian.AppendUint32(b, sums[i])
		b = binary.LittleEndian.AppendUint32(b, 0)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// mapping is a verified file in memory.
type mapping struct {
	parts  [][]byte
	mapped mmap.MMap // nil where the file was read
	file   *os.File  // locked against removal while it is mapped
}

func (m *mapping) release() {
	m.parts = nil
	if m.mapped != nil {
		_ = m.mapped.Unmap() // the address space of a process that goes on without it
	}
	if m.file != nil {
		_ = m.file.Close()
	}
}

// openFile verifies a file by reading it, on all cores, and maps it. What its bytes do not agree with is an errDamaged.
func openFile(ctx context.Context, name string, key [sha256.Size]byte, sizes []int64) (_ *mapping, err error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	m := &mapping{file: f}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	_ = lock(f, false) // in vain only while it is being removed
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if want := fileSize(sizes); info.Size() != want {
		return nil, fmt.Errorf("%w: it has %d bytes, wanted are %d", errDamaged, info.Size(), want)
	}
	if int64(int(info.Size())) != info.Size() {
		return nil, fmt.Errorf("%d bytes are more than a process can map", info.Size())
	}
	// The header that is wanted, but for the parts' checksums, which it tells.
	header := make([]byte, len(encodeHeader(key, sizes, make([]uint32, len(sizes)))))
	if _, err := f.ReadAt(header, 0); err != nil {
		return nil, err
	}
	sums := make([]uint32, len(sizes))
	for i := range sums {
		sums[i] = binary.LittleEndian.Uint32(header[len(magic)+8+sha256.Size+16*i+8:])
	}
	if !slices.Equal(header, encodeHeader(key, sizes, sums)) {
		return nil, fmt.Errorf("%w: its header is not that of this model", errDamaged)
	}
	if err := verify(ctx, f, sizes, sums); err != nil {
		return nil, err
	}
	data, err := mmap.MapRegion(f, int(info.Size()), mmap.RDONLY, 0, 0)
	if m.mapped = data; err != nil {
		data = make([]byte, info.Size())
		if _, err := io.ReadFull(io.NewSectionReader(f, 0, info.Size()), data); err != nil {
			return nil, err
		}
	}
	at := headerSize(len(sizes))
	for _, n := range sizes {
		m.parts = append(m.parts, data[at:at+n:at+n])
		at += toPage(n)
	}
	return m, nil
}

// verify compares the parts with their checksums.
func verify(ctx context.Context, f io.ReaderAt, sizes []int64, sums []uint32) error {
	const piece = 1 << 20
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	at := headerSize(len(sizes))
	for i, size := range sizes {
		begin := at
		at += toPage(size)
		group.Go(func() error {
			buffer, sum := make([]byte, min(piece, size)), uint32(0)
			for done := int64(0); done < size; done += piece {
				data := buffer[:min(piece, size-done)]
				if _, err := f.ReadAt(data, begin+done); err != nil {
					return err
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				sum = crc32.Update(sum, castagnoli, data)
			}
			if sum != sums[i] {
				return fmt.Errorf("%w: part %d of %d has another checksum", errDamaged, i+1, len(sizes))
			}
			return nil
		})
	}
	return group.Wait()
}

// writer fills a temporary file that becomes part of the cache at the end.
type writer struct {
	cache    *Cache
	file     *os.File
	settings string
	sizes    []int64
	model    []identity // of the model's files when they began to be read
	sums     []uint32   // of finished parts
	sum      uint32     // of the current part
	written  int64      // of the current part
	err      error
}

func (w *writer) write(data []byte) {
	if w.err != nil {
		return
	}
	size := w.sizes[len(w.sums)]
	w.sum = crc32.Update(w.sum, castagnoli, data)
	w.written += int64(len(data))
	if _, w.err = w.file.Write(data); w.err == nil && w.written == size {
		_, w.err = w.file.Write(make([]byte, toPage(size)-size))
		w.sums = append(w.sums, w.sum)
		w.sum, w.written = 0, 0
	}
}

func (w *writer) finish(complete bool) {
	if !complete {
		w.drop()
		return
	}
	w.cache.publishing = true
	w.cache.work.Go(func() {
		if w.err == nil {
			w.err = w.publish()
		}
		if w.err != nil {
			w.drop()
			w.cache.failed = w.err
		}
	})
}

// drop removes the temporary file; a later start tries again.
func (w *writer) drop() {
	_ = w.file.Close()
	_ = os.Remove(w.file.Name())
}

// publish makes the temporary file a part of the cache.
func (w *writer) publish() error {
	digest, err := w.cache.digest()
	if err != nil {
		return err
	}
	if !slices.Equal(w.model, w.cache.identities()) {
		return errors.New("the model file was changed meanwhile")
	}
	if _, err := w.file.WriteAt(encodeHeader(w.cache.key(digest, w.settings, w.sizes), w.sizes, w.sums), 0); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	_ = os.Chtimes(w.file.Name(), time.Time{}, time.Now()) // syncing took its time: nobody may take it for abandoned
	if err := w.file.Close(); err != nil {
		return err
	}
	name := w.cache.path(digest, w.settings, w.sizes)
	if err := (checkpoint.Files{}).Rename(w.file.Name(), name); err != nil {
		if info, there := os.Stat(name); there == nil && info.Size() == fileSize(w.sizes) {
			w.drop() // another process has made the same meanwhile, and a third one maps it
			return nil
		}
		return err
	}
	// without it the file may be gone after a power cut, and is made again
	_ = checkpoint.Files{}.SyncDir(filepath.Dir(name))
	return nil
}
