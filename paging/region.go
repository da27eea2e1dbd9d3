// Package paging owns where frozen weights live. All frozen tensors of one layer form a region: the same bytes on disk, in host memory
// and on the device, reached through a handle, so that whether a layer is resident or streams through a slot is decided here and nowhere else.
package paging

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/nf4"
)

// Weights is the handle through which a layer reaches its frozen tensors, by their name within the layer ("self_attn.q_proj", "input_layernorm"). What it
// returns holds for the kernel recorded next: the slot may be another's after the next call.
type Weights interface {
	Linear(name string) *kernels.NF4Weight
	Vector(name string) kernels.Vector
}

// Layout places the tensors of a region in parts, each small enough to be bound at once. A part starts with kernels.RegionHeader.
// Linears that do not fit what is left of a part are cut by rows.
type Layout struct {
	Parts []int64 // bytes of each part

	limit   int64
	linears map[string]*linear
	vectors map[string]vector
	names   []string
}

type linear struct {
	n, k, blockSize int
	shards          []shard
}

// shard is rows [row, row+rows) of a linear; offsets are 4-byte words within the part.
type shard struct {
	part, row, rows             int
	packed, codes, nested, bias uint32
	firstBlock                  uint32
	mean                        uint32  // where the offset of the double quantization lies, behind the nested absmax
	offset                      float32 // read from there
}

type vector struct {
	n, part int
	offset  uint32
}

const (
	wordBytes  = 4
	alignWords = 64 // 256 bytes
)

// NewLayout starts a layout whose parts hold at most limit bytes.
func NewLayout(limit int64) *Layout {
	return &Layout{limit: limit / 256 * 256, linears: map[string]*linear{}, vectors: map[string]vector{}}
}

// RowStep is the rows between possible cuts: whole blocks, and whole vec4 of outputs.
func RowStep(k, blockSize int) int {
	step := 4
	for step*k%blockSize != 0 {
		step *= 2
	}
	return step
}

// bytesOf is what rows of a linear take, each piece aligned.
func bytesOf(rows, k, blockSize int, bias bool) int64 {
	blocks := nf4.Blocks(rows*k, blockSize)
	words := alignWord(rows*k/8) + alignWord((blocks+3)/4) + alignWord(doublequant.Nested(blocks)+2)
	if bias {
		words += alignWord(rows)
	}
	return int64(words) * wordBytes
}

func alignWord(n int) int { return (n + alignWords - 1) / alignWords * alignWords }

// AddLinear places a weight [n, k] of NF4 blocks, and its bias [n].
func (l *Layout) AddLinear(name string, n, k, blockSize int, bias bool) {
	lin := &linear{n: n, k: k, blockSize: blockSize}
	step := RowStep(k, blockSize)
	for row := 0; row < n; {
		rows := n - row
		room := l.room()
		if bytesOf(rows, k, blockSize, bias) > room {
			rows = 0
			for low, high := 0, (n-row)/step; low <= high; { // the most steps that fit
				mid := (low + high) / 2
				if bytesOf(mid*step, k, blockSize, bias) <= room {
					rows, low = mid*step, mid+1
				} else {
					high = mid - 1
				}
			}
		}
		if rows == 0 {
			if len(l.Parts) > 0 && l.Parts[len(l.Parts)-1] == headerBytes {
				panic(fmt.Sprintf("paging: %d rows of %s exceed a part of %d bytes", step, name, l.limit))
			}
			l.newPart()
			continue
		}
		blocks := nf4.Blocks(rows*k, blockSize)
		firstBlock := row * k / blockSize % doublequant.BlockSize
		s := shard{part: len(l.Parts) - 1, row: row, rows: rows, firstBlock: uint32(firstBlock), bias: kernels.NoBias}
		s.packed = l.take(rows * k / 8)
		s.codes = l.take((blocks + 3) / 4)
		nested := doublequant.Nested(firstBlock + blocks)
		s.nested = l.take(nested + 1)
		s.mean = s.nested + uint32(nested)
		if bias {
			s.bias = l.take(rows)
		}
		lin.shards = append(lin.shards, s)
		row += rows
	}
	l.linears[name] = lin
	l.names = append(l.names, name)
}

// AddVector places a float32 vector of n elements.
func (l *Layout) AddVector(name string, n int) {
	if int64(alignWord(n)*wordBytes) > l.room() {
		l.newPart()
	}
	part := max(len(l.Parts)-1, 0)
	l.vectors[name] = vector{n: n, part: part, offset: l.take(n)}
	l.names = append(l.names, name)
}

const headerBytes = (kernels.RegionHeader + alignWords - 1) / alignWords * alignWords * wordBytes

func (l *Layout) newPart() { l.Parts = append(l.Parts, headerBytes) }

func (l *Layout) room() int64 {
	if len(l.Parts) == 0 {
		l.newPart()
	}
	return l.limit - l.Parts[len(l.Parts)-1]
}

func (l *Layout) take(words int) uint32 {
	last := &l.Parts[len(l.Parts)-1]
	at := uint32(*last / wordBytes)
	*last += int64(alignWord(words)) * wordBytes
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
	putFloats(data, 0, doublequant.SignedMap[:])
	putFloats(data, 256, nf4.Codebook[:])
	return data
}

// ShardEnd is the end of the shard in which a row of a linear lies.
func (l *Layout) ShardEnd(name string, row int) int {
	s := l.linears[name].shardOf(row)
	return s.row + s.rows
}

// Packed is the place of the packed codes of some rows, which lie in one shard.
func (l *Layout) Packed(parts [][]byte, name string, row, rows int) []byte {
	lin := l.linears[name]
	s := lin.shardOf(row)
	at := int(s.packed)*wordBytes + (row-s.row)*lin.k/2
	return parts[s.part][at : at+rows*lin.k/2]
}

func (lin *linear) shardOf(row int) shard {
	i := slices.IndexFunc(lin.shards, func(s shard) bool { return row < s.row+s.rows })
	return lin.shards[i]
}

func putFloats(part []byte, word uint32, values []float32) {
	for i, v := range values {
		binary.LittleEndian.PutUint32(part[(int(word)+i)*wordBytes:], math.Float32bits(v))
	}
}

// PutLinear copies a quantized weight into the parts: packed codes [n·k/2], or nil where they are in their places (Packed) already, double-quantized absmax,
// bias [n] or nil.
func (l *Layout) PutLinear(parts [][]byte, name string, packed []byte, absmax doublequant.State, bias []float32) {
	lin := l.linears[name]
	for i := range lin.shards {
		s := &lin.shards[i]
		part := parts[s.part]
		first, end := s.row*lin.k, (s.row+s.rows)*lin.k
		if packed != nil {
			copy(part[int(s.packed)*wordBytes:], packed[first/2:end/2])
		}
		firstBlock, endBlock := first/lin.blockSize, nf4.Blocks(end, lin.blockSize)
		copy(part[int(s.codes)*wordBytes:], absmax.Codes[firstBlock:endBlock])
		putFloats(part, s.nested, absmax.Nested[firstBlock/doublequant.BlockSize:doublequant.Nested(endBlock)])
		if s.bias != kernels.NoBias {
			putFloats(part, s.bias, bias[s.row:s.row+s.rows])
		}
		putFloats(part, s.mean, []float32{absmax.Offset})
		s.offset = absmax.Offset
	}
}

// PutVector copies a vector into the parts.
func (l *Layout) PutVector(parts [][]byte, name string, values []float32) {
	v := l.vectors[name]
	if len(values) != v.n {
		panic(fmt.Sprintf("paging: %d values for %s of %d", len(values), name, v.n))
	}
	putFloats(parts[v.part], v.offset, values)
}

// readOffsets takes the offsets of the linears in a part from its bytes.
func (l *Layout) readOffsets(part int, data []byte) {
	for _, lin := range l.linears {
		for i := range lin.shards {
			if s := &lin.shards[i]; s.part == part {
				s.offset = math.Float32frombits(binary.LittleEndian.Uint32(data[s.mean*wordBytes:]))
			}
		}
	}
}

// PartsOf lists the parts that hold a tensor, each once. Tensors lie in the parts in the order in which they were added.
func (l *Layout) PartsOf(name string) (parts []int) {
	if lin := l.linears[name]; lin != nil {
		for _, s := range lin.shards {
			if n := len(parts); n == 0 || parts[n-1] != s.part {
				parts = append(parts, s.part)
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

// Linear is a weight of the region.
func (r *Region) Linear(name string) *kernels.NF4Weight {
	lin := r.Layout.linears[name]
	if lin == nil {
		panic("paging: region has no linear " + name)
	}
	w := &kernels.NF4Weight{Name: name, N: lin.n, K: lin.k, BlockSize: lin.blockSize}
	for _, s := range lin.shards {
		w.Shards = append(w.Shards, kernels.NF4Shard{
			Region: r.Parts[s.part], Row: s.row, Rows: s.rows, Packed: s.packed, Codes: s.codes, Nested: s.nested, Bias: s.bias,
			Offset: s.offset, FirstBlock: s.firstBlock,
		})
	}
	return w
}

// Vector is a vector of the region.
func (r *Region) Vector(name string) kernels.Vector {
	v, ok := r.Layout.vectors[name]
	if !ok {
		panic("paging: region has no vector " + name)
	}
	return kernels.Vector{Range: r.Parts[v.part], Offset: v.offset}
}
