//go:build !js

package datacache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json/v2"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/files"
	"qlora-wgpu/internal/usererr"
)

// A file is, little endian: the header, in 4,096 bytes; the tokens of all samples, u32 each, its highest bit set where
// the token is a target; a record a sample; the report in JSON. A record: index of the first token, u64; tokens, row,
// turns and the CRC-32C of the tokens' bytes, u32 each.
const (
	magic         = "QLORASMP"
	formatVersion = 1
	headerBytes   = 4096
	tokenBytes    = 4
	recordBytes   = 24
	targetBit     = 1 << 31
	maxReport     = 16 << 20
	notTarget     = -100 // dataset's
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errDamaged = errors.New("damaged")
)

// header says what is in a file.
type header struct {
	Magic                [len(magic)]byte
	Version, FirstTarget uint32
	Key                  [sha256.Size]byte // of the samples' key
	Tokens, Samples      uint64
	Report               uint64 // bytes
	Records, ReportSum   uint32 // CRC-32C
}

func (h header) size() int64 {
	return headerBytes + tokenBytes*int64(h.Tokens) + recordBytes*int64(h.Samples) + int64(h.Report)
}

func (h header) records() int64 { return headerBytes + tokenBytes*int64(h.Tokens) }

// encode is the header and its checksum, filled up to its size.
func (h header) encode() []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, h) // a buffer takes all
	out := binary.LittleEndian.AppendUint32(b.Bytes(), crc32.Checksum(b.Bytes(), castagnoli))
	return append(out, make([]byte, headerBytes-len(out))...)
}

func readHeader(f io.ReaderAt, key string, size int64) (h header, err error) {
	data := make([]byte, headerBytes)
	if _, err := f.ReadAt(data, 0); err == io.EOF {
		return h, fmt.Errorf("%w: it has only %d bytes", errDamaged, size)
	} else if err != nil {
		return h, err
	}
	if _, err := binary.Decode(data, binary.LittleEndian, &h); err != nil {
		return h, err
	}
	const most = 1 << 56 // so that sizes do not overflow
	switch {
	case !bytes.Equal(h.encode(), data) || string(h.Magic[:]) != magic || h.Version != formatVersion || h.Key != sha256.Sum256([]byte(key)):
		return h, fmt.Errorf("%w: its header is not that of these samples", errDamaged)
	case h.Tokens > most || h.Samples > 1<<32 || h.Report > maxReport || h.size() != size:
		return h, fmt.Errorf("%w: it has %d bytes, not those that its header tells of", errDamaged, size)
	}
	return h, nil
}

// samples are those of a file.
type samples struct {
	file        *os.File
	name        string
	records     int64
	lengths     []uint32
	firstTarget int
}

// openSamples reads the records and the report of a file and checks them.
func openSamples(ctx context.Context, name, key string) (_ *samples, report dataset.Report, err error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, report, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, report, err
	}
	h, err := readHeader(f, key, info.Size())
	if err != nil {
		return nil, report, err
	}
	s := &samples{file: f, name: name, records: h.records(), lengths: make([]uint32, 0, h.Samples), firstTarget: int(h.FirstTarget)}
	if err := s.readLengths(ctx, h); err != nil {
		return nil, report, err
	}
	text := make([]byte, h.Report)
	if _, err := f.ReadAt(text, h.size()-int64(h.Report)); err != nil {
		return nil, report, err
	}
	if crc32.Checksum(text, castagnoli) != h.ReportSum || json.Unmarshal(text, &report) != nil {
		return nil, report, fmt.Errorf("%w: its report has another checksum", errDamaged)
	}
	return s, report, nil
}

func (s *samples) readLengths(ctx context.Context, h header) error {
	const records = 1 << 16
	sum, total := uint32(0), uint64(0)
	buffer := make([]byte, records*recordBytes)
	for done := int64(0); done < int64(h.Samples); done += records {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := buffer[:recordBytes*min(records, int64(h.Samples)-done)]
		if _, err := s.file.ReadAt(part, s.records+done*recordBytes); err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, part)
		for ; len(part) > 0; part = part[recordBytes:] {
			tokens := decodeRecord(part).tokens
			total += uint64(tokens)
			s.lengths = append(s.lengths, tokens)
		}
	}
	if sum != h.Records || total != h.Tokens {
		return fmt.Errorf("%w: its records have another checksum", errDamaged)
	}
	return nil
}

type record struct {
	first                   uint64
	tokens, row, turns, sum uint32
}

func (r record) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, r.first)
	for _, v := range []uint32{r.tokens, r.row, r.turns, r.sum} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func decodeRecord(b []byte) record {
	u := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	return record{binary.LittleEndian.Uint64(b), u(8), u(12), u(16), u(20)}
}

// Len, Tokens, FirstTarget and At implement dataset.Samples.
func (s *samples) Len() int         { return len(s.lengths) }
func (s *samples) Tokens(i int) int { return int(s.lengths[i]) }
func (s *samples) FirstTarget() int { return s.firstTarget }

func (s *samples) At(i int) (dataset.Sample, error) {
	fail := func(err error) (dataset.Sample, error) {
		return dataset.Sample{}, usererr.New("read samples", s.name, "sample %d: %w", i, err).Hinted("go on with --resume, or start again")
	}
	b := make([]byte, recordBytes)
	if _, err := s.file.ReadAt(b, s.records+int64(i)*recordBytes); err != nil {
		return fail(err)
	}
	r := decodeRecord(b)
	if r.tokens != s.lengths[i] {
		return fail(s.damaged())
	}
	b = make([]byte, tokenBytes*int(r.tokens))
	if _, err := s.file.ReadAt(b, headerBytes+tokenBytes*int64(r.first)); err != nil {
		return fail(err)
	}
	if crc32.Checksum(b, castagnoli) != r.sum {
		return fail(s.damaged())
	}
	out := dataset.Sample{IDs: make([]uint32, r.tokens), Labels: make([]int32, r.tokens), Row: int(r.row), Turns: int(r.turns)}
	for k := range out.IDs {
		token := binary.LittleEndian.Uint32(b[tokenBytes*k:])
		out.IDs[k], out.Labels[k] = token&^targetBit, notTarget
		if token&targetBit != 0 {
			out.Labels[k] = int32(out.IDs[k])
		}
	}
	return out, nil
}

// damaged takes the file away, so that the next start makes it again.
func (s *samples) damaged() error {
	if err := os.Remove(s.name); err != nil {
		return fmt.Errorf("its bytes have changed on the disk; remove the file (%w)", err)
	}
	return errors.New("its bytes have changed on the disk; the file is removed, and the next start makes it again")
}
