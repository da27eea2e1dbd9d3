// Package paging owns where frozen weights live. All frozen tensors of one layer form a region: the same bytes on disk,
// in host memory and on the device, reached through a handle, so that whether a layer is resident or streams through a
// slot is decided here and nowhere else.
package paging

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/kernels"
)

// Weights is the handle through which a layer reaches its frozen tensors, by their name within the layer
// ("self_attn.q_proj", "input_layernorm"). What it returns holds for the kernels recorded next: the slot may be
// another's after the next call.
type Weights interface {
	Linear(name string) frozen.Linear
	Vector(name string) kernels.Vector
}

// Layout places the tensors of a region in parts, each small enough to be bound at once. A part starts with the
// format's header. Linears that do not fit what is left of a part are cut by rows.
type Layout struct {
	Parts []int64 // bytes of each part, its header counted

	limit   int64
	header  []byte
	linears map[string]*frozen.Weight
	vectors map[string]vector
}

type vector struct {
	n, part int
	offset  uint32
}

const wordBytes = 4

// NewLayout starts a layout whose parts hold at most limit bytes, and begin with the header of the formats of its
// linears.
func NewLayout(formats frozen.Formats, limit int64) *Layout {
	return &Layout{
		limit: limit / 256 * 256, header: formats.Header(), linears: map[string]*frozen.Weight{}, vectors: map[string]vector{},
	}
}

// bytesOf is what rows of a linear take, each piece aligned.
func bytesOf(format frozen.Format, rows, k int, bias bool) int64 {
	bytes := format.Bytes(rows, k)
	if bias {
		bytes += int64(frozen.Aligned(rows)) * wordBytes
	}
	return bytes
}

// AddLinear places a weight [n, k] in a format, and its bias [n]. It panics where not even one step of rows fits a
// part: a limit that no device has.
func (l *Layout) AddLinear(name string, format frozen.Format, n, k int, bias bool) {
	w := &frozen.Weight{Name: name, Format: format, N: n, K: k}
	step := format.RowStep(k, l.limit)
	for row := 0; row < n; {
		rows := n - row
		room := l.room()
		if bytesOf(format, rows, k, bias) > room {
			rows = 0
			for low, high := 0, (n-row)/step; low <= high; { // the most steps that fit
				mid := (low + high) / 2
				if bytesOf(format, mid*step, k, bias) <= room {
					rows, low = mid*step, mid+1
				} else {
					high = mid - 1
				}
			}
		}
		if rows == 0 {
			if len(l.Parts) > 0 && l.Parts[len(l.Parts)-1] == l.headerBytes() {
				panic(fmt.Sprintf("paging: %d rows of %s exceed a part of %d bytes", step, name, l.limit))
			}
			l.newPart()
			continue
		}
		s := frozen.Shard{Part: len(l.Parts) - 1, Row: row, Rows: rows, Bias: kernels.NoBias}
		for _, words := range format.Pieces(row, rows, k) {
			s.Pieces = append(s.Pieces, l.take(words))
		}
		if bias {
			s.Bias = l.take(rows)
		}
		w.Shards = append(w.Shards, s)
		row += rows
	}
	l.linears[name] = w
}

// AddVector places a float32 vector of n elements.
func (l *Layout) AddVector(name string, n int) {
	if int64(frozen.Aligned(n)*wordBytes) > l.room() {
		l.newPart()
	}
	part := max(len(l.Parts)-1, 0)
	l.vectors[name] = vector{n: n, part: part, offset: l.take(n)}
}

func (l *Layout) headerBytes() int64 {
	return int64(frozen.Aligned(len(l.header)/wordBytes)) * wordBytes
}

func (l *Layout) newPart() { l.Parts = append(l.Parts, l.headerBytes()) }

func (l *Layout) room() int64 {
	if len(l.Parts) == 0 {
		l.newPart()
	}
	return l.limit - l.Parts[len(l.Parts)-1]
}

func (l *Layout) take(words int) uint32 {
	last := &l.Parts[len(l.Parts)-1]
	at := uint32(*last / wordBytes)
	*last += int64(frozen.Aligned(words)) * wordBytes
	return at
}

// Bytes is the size of all parts.
func (l *Layout) Bytes() (total int64) {
	for _, p := range l.Parts {
		total += p
	}
	return total
}

// NewParts makes the region's host bytes, with the headers in place.
func (l *Layout) NewParts() [][]byte {
	parts := make([][]byte, len(l.Parts))
	for i := range l.Parts {
		parts[i] = l.NewPart(i)
	}
	return parts
}

// NewPart makes the host bytes of one part, with the header in place.
func (l *Layout) NewPart(part int) []byte {
	data := make([]byte, l.Parts[part])
	copy(data, l.header)
	return data
}

// Writer puts a linear's values into the parts.
func (l *Layout) Writer(parts [][]byte, name string) frozen.Writer {
	w := l.linears[name]
	return w.Format.Writer(w, parts)
}

// PutVector copies a vector into the parts, which NewParts made. It panics where it is of another length.
func (l *Layout) PutVector(parts [][]byte, name string, values []float32) {
	v := l.vectors[name]
	if len(values) != v.n {
		panic(fmt.Sprintf("paging: %d values for %s of %d", len(values), name, v.n))
	}
	frozen.PutFloats(parts[v.part], v.offset, values)
}

// attach takes from a part's bytes what its linears' kernels are told beside them.
func (l *Layout) attach(part int, data []byte) {
	for _, w := range l.linears {
		w.Format.Attach(w, part, data)
	}
}

// PartsOf lists the parts that hold a tensor, each once. Tensors lie in the parts in the order in which they were
// added. It panics for a name that was not.
func (l *Layout) PartsOf(name string) (parts []int) {
	if w := l.linears[name]; w != nil {
		for _, s := range w.Shards {
			if n := len(parts); n == 0 || parts[n-1] != s.Part {
				parts = append(parts, s.Part)
			}
		}
		return parts
	}
	v, ok := l.vectors[name]
	if !ok {
		panic("paging: region has no tensor " + name)
	}
	return []int{v.part}
}

// Region is a layer's frozen tensors on the device, as far as they are there.
type Region struct {
	Layout *Layout
	Parts  []gpu.Range
}

// Linear is a weight of the region; it panics where there is none of this name.
func (r *Region) Linear(name string) frozen.Linear {
	w := r.Layout.linears[name]
	if w == nil {
		panic("paging: region has no linear " + name)
	}
	return w.Format.Open(w, r.Parts)
}

// Vector is a vector of the region; it panics where there is none of this name.
func (r *Region) Vector(name string) kernels.Vector {
	v, ok := r.Layout.vectors[name]
	if !ok {
		panic("paging: region has no vector " + name)
	}
	return kernels.Vector{Range: r.Parts[v.part], Offset: v.offset}
}
