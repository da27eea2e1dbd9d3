package frozen

import (
	"encoding/binary"
	"fmt"
	"math"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/nf4"
)

// NF4 is 4-bit NormalFloat with double quantization, in blocks of so many weights (nf4.ValidBlockSize). The pieces of
// a shard are its codes, an absmax code for each block, and the nested absmax with the offset of all absmax behind
// them. Source: QLoRA, arXiv 2305.14314, section 3; the bytes are bitsandbytes'.
type NF4 int

func (f NF4) String() string { return f.Key() + " with double quantization" }
func (f NF4) Key() string    { return fmt.Sprintf("NF4 blocks of %d", int(f)) }
func (f NF4) Cached() bool   { return true }

// Header is what decoding takes: the map of absmax codes and the codebook (kernels.RegionHeader).
func (f NF4) Header() []byte {
	header := make([]byte, kernels.RegionHeader*wordBytes)
	PutFloats(header, 0, doublequant.SignedMap[:])
	PutFloats(header, uint32(len(doublequant.SignedMap)), nf4.Codebook[:])
	return header
}

// Together is rows of whole blocks.
func (f NF4) Together(k int) int {
	rows := 1
	for rows*k%int(f) != 0 {
		rows *= 2
	}
	return rows
}

// RowStep is whole blocks, and whole vec4 of outputs.
func (f NF4) RowStep(k int, _ int64) int { return max(4, f.Together(k)) }

func (f NF4) Bytes(rows, k int) int64 {
	blocks := nf4.Blocks(rows*k, int(f))
	// The first block may be the last of its nested block.
	words := Aligned(rows*k/8) + Aligned((blocks+3)/4) + Aligned(doublequant.Nested(blocks)+2)
	return int64(words) * wordBytes
}

func (f NF4) Pieces(row, rows, k int) []int {
	blocks := nf4.Blocks(rows*k, int(f))
	return []int{rows * k / 8, (blocks + 3) / 4, doublequant.Nested(f.firstBlock(row, k)+blocks) + 1}
}

// firstBlock is where a shard's first block lies within its nested block.
func (f NF4) firstBlock(row, k int) int { return row * k / int(f) % doublequant.BlockSize }

// Places in Shard.Pieces.
const (
	nf4Packed = iota
	nf4Codes
	nf4Nested
)

// offsetWord is where the offset of the absmax lies.
func (f NF4) offsetWord(s *Shard, k int) uint32 {
	pieces := f.Pieces(s.Row, s.Rows, k)
	return s.Pieces[nf4Nested] + uint32(pieces[nf4Nested]) - 1
}

func (f NF4) Attach(w *Weight, part int, data []byte) {
	for i := range w.Shards {
		if s := &w.Shards[i]; s.Part == part {
			s.Parameter = math.Float32frombits(binary.LittleEndian.Uint32(data[f.offsetWord(s, w.K)*wordBytes:]))
		}
	}
}

func (f NF4) Open(w *Weight, parts []gpu.Range) Linear {
	open := &kernels.NF4Weight{Name: w.Name, N: w.N, K: w.K, BlockSize: int(f)}
	for _, s := range w.Shards {
		open.Shards = append(open.Shards, kernels.NF4Shard{
			Region: parts[s.Part], Row: s.Row, Rows: s.Rows,
			Packed: s.Pieces[nf4Packed], Codes: s.Pieces[nf4Codes], Nested: s.Pieces[nf4Nested], Bias: s.Bias,
			Offset: s.Parameter, FirstBlock: uint32(f.firstBlock(s.Row, w.K)),
		})
	}
	return open
}

func (f NF4) Writer(w *Weight, parts [][]byte) Writer {
	return &nf4Writer{f, w, parts, make([]float32, nf4.Blocks(w.N*w.K, int(f)))}
}

type nf4Writer struct {
	format NF4
	weight *Weight
	parts  [][]byte
	absmax []float32 // of all blocks, before they are quantized too
}

func (w *nf4Writer) Rows(row int, values []float32) (notFinite int) {
	notFinite, done, block, k := -1, 0, int(w.format), w.weight.K
	w.weight.each(row, values, func(s *Shard, row int, values []float32) {
		first := row * k
		absmax := w.absmax[first/block : nf4.Blocks(first+len(values), block)]
		packed := w.parts[s.Part][int(s.Pieces[nf4Packed])*wordBytes+(row-s.Row)*k/2:]
		nf4.Quantize(values, block, packed[:len(values)/2], absmax)
		if notFinite < 0 && nf4.FirstNonFinite(absmax) >= 0 {
			notFinite = done + nf4.FirstNonFinite(values)
		}
		done += len(values)
	})
	return notFinite
}

func (w *nf4Writer) Finish(bias []float32) {
	absmax, block := doublequant.Quantize(w.absmax), int(w.format)
	for i := range w.weight.Shards {
		s := &w.weight.Shards[i]
		part, k := w.parts[s.Part], w.weight.K
		first, end := s.Row*k/block, nf4.Blocks((s.Row+s.Rows)*k, block)
		copy(part[int(s.Pieces[nf4Codes])*wordBytes:], absmax.Codes[first:end])
		PutFloats(part, s.Pieces[nf4Nested], absmax.Nested[first/doublequant.BlockSize:doublequant.Nested(end)])
		PutFloats(part, w.format.offsetWord(s, k), []float32{absmax.Offset})
		s.Parameter = absmax.Offset
	}
	w.weight.finishBias(w.parts, bias)
}
