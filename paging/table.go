package paging

import (
	"fmt"
	"math"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

// Table is an embedding or a head [V, C] in bfloat16, rows padded with zeros to a multiple of 4, cut by rows into
// pages.
type Table struct {
	Rows, Cols int

	name  string
	store *Store
	pages []int
	first []int // row of each page, and Rows at the end
}

// AddHead makes room for a head [vocab, cols]. Of its pages, each of at most pageBytes (0: as the device binds), the
// last so many as streamed says go through the ring. What does not fit the device is a *gpu.OutOfMemory.
func (s *Store) AddHead(vocab, cols int, pageBytes int64, streamed int) (*Table, error) {
	return s.addTable("head", Head, vocab, cols, pageBytes, streamed)
}

// AddEmbedding makes room for an embedding [vocab, cols] that is not the head's table too. With onHost it never lies on
// the device: the host gathers its rows. What does not fit the device is a *gpu.OutOfMemory.
func (s *Store) AddEmbedding(vocab, cols int, onHost bool) (*Table, error) {
	streamed := 0
	if onHost {
		streamed = math.MaxInt
	}
	return s.addTable("embedding", Other, vocab, cols, 0, streamed)
}

func (s *Store) addTable(name string, layer, vocab, cols int, pageBytes int64, streamed int) (*Table, error) {
	t := &Table{Rows: (vocab + 3) / 4 * 4, Cols: cols, name: name, store: s}
	rows := tablePageRows(s.dev, cols, pageBytes)
	count := (t.Rows + rows - 1) / rows
	for i := range count {
		first := i * rows
		id, err := s.addPage(fmt.Sprintf("%s rows %d", name, first),
			layer, gpu.BF16.Size((min(first+rows, t.Rows)-first)*cols), streamed >= count-i)
		if err != nil {
			return nil, err
		}
		t.pages, t.first = append(t.pages, id), append(t.first, first)
	}
	t.first = append(t.first, t.Rows)
	return t, nil
}

// tablePageRows is the rows of a table's page: a multiple of 256 where it can be, since partial sums over rows end
// there, and what is computed must not depend on the cutting.
func tablePageRows(dev *gpu.Device, cols int, pageBytes int64) int {
	rows := dev.ShardRows(gpu.BF16, cols)
	if pageBytes > 0 {
		rows = min(rows, max(256, int(pageBytes/gpu.BF16.Size(cols))/256*256))
	}
	return rows
}

// Put puts bytes of the rows, from byte at on, in their places. A page on the host that it holds as a whole keeps the
// slice, which must not change any more. Errors are the device's.
func (t *Table) Put(at int64, data []byte) error {
	for i, id := range t.pages {
		p, begin := t.store.pages[id], gpu.BF16.Size(t.first[i]*t.Cols)
		from, to := max(at, begin), min(at+int64(len(data)), begin+p.bytes)
		if from >= to {
			continue
		}
		piece := data[from-at : to-at]
		switch {
		case p.resident != nil:
			if err := t.store.write(p.resident, from-begin, piece); err != nil {
				return err
			}
		case int64(len(piece)) == p.bytes:
			p.host = piece
		default:
			if p.host == nil {
				p.host = make([]byte, p.bytes)
			}
			copy(p.host[from-begin:], piece)
		}
	}
	return nil
}

// Resident tells whether the whole table lies on the device.
func (t *Table) Resident() bool {
	for _, id := range t.pages {
		if t.store.streamed(id) {
			return false
		}
	}
	return true
}

// Each calls f with the table, where it is resident, or with its pages one after another as tables that hold a part
// of the rows. first is true in the first call.
func (t *Table) Each(rec *gpu.Recorder, f func(part *gpu.Tensor, first bool)) {
	if t.Resident() {
		f(t.tensor(), true)
		return
	}
	for i, id := range t.pages {
		at := t.store.acquire(rec, id)[0]
		f(t.view(gpu.Shard{Range: at, Row: t.first[i], Rows: t.first[i+1] - t.first[i]}), i == 0)
	}
}

func (t *Table) tensor() *gpu.Tensor {
	var shards []gpu.Shard
	for i, id := range t.pages {
		shards = append(shards, gpu.Shard{Range: t.store.pages[id].resident.All(), Row: t.first[i], Rows: t.first[i+1] - t.first[i]})
	}
	return t.view(shards...)
}

func (t *Table) view(shards ...gpu.Shard) *gpu.Tensor {
	return &gpu.Tensor{Name: t.name, DType: gpu.BF16, Rows: t.Rows, Cols: t.Cols, Shards: shards}
}

// Gather is x[t] = table[ids[t]], x [T, Cols] in float32 and ids [T] in uint32: on the device where the table is
// resident, else by the host, which takes the same ids from onHost and uploads the rows.
func (t *Table) Gather(rec *gpu.Recorder, x, ids *gpu.Tensor, onHost []uint32) {
	if t.Resident() {
		kernels.EmbeddingForward(rec, x, t.tensor(), ids)
		return
	}
	if rec.Dry() {
		return
	}
	const piece = 256 // tokens
	row := gpu.BF16.Size(t.Cols)
	out := make([]byte, 2*row*piece)
	to := x.Single()
	for first := 0; first < len(onHost); first += piece {
		n := min(piece, len(onHost)-first)
		for i, token := range onHost[first : first+n] {
			id := min(int(token), t.Rows-1)
			page := id / (t.first[1] - t.first[0])
			source := t.store.pages[t.pages[page]].host[row*int64(id-t.first[page]):][:row]
			dst := out[2*row*int64(i):]
			for j := 0; j < len(source); j += 2 { // bfloat16 is the upper half of a float32
				dst[2*j], dst[2*j+1], dst[2*j+2], dst[2*j+3] = 0, 0, source[j], source[j+1]
			}
		}
		size := 2 * row * int64(n)
		rec.Upload(gpu.Range{Buffer: to.Buffer, Offset: to.Offset + 2*row*int64(first), Size: size}, out[:size])
	}
}

// Bytes is the size of all rows.
func (t *Table) Bytes() int64 { return gpu.BF16.Size(t.Rows * t.Cols) }
