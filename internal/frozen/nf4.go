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
func NF4(block int) Format { return nf4Format{block, doublequant.BlockSize} }

// NF4Single is NF4 without double quantization: in place of the nested absmax each block has its own, in float32, under
// the code of 1 and without an offset, so that the same kernels compute with it.
func NF4Single(block int) Format { return nf4Format{block, 1} }

// nf4Format: so many weights in a block, so many blocks under a nested absmax.
type nf4Format struct{ block, group int }

func (f nf4Format) double() bool { return f.group == doublequant.BlockSize }

func (f nf4Format) String() string {
	if f.double() {
		return fmt.Sprintf("NF4 blocks of %d with double quantization", f.block)
	}
	return f.Key()
}

func (f nf4Format) Key() string {
	if f.double() {
		return fmt.Sprintf("NF4 blocks of %d", f.block)
	}
	return fmt.Sprintf("NF4 blocks of %d, absmax in float32", f.block)
}

func (nf4Format) Cached() bool { return true }

func (f nf4Format) Of(string) Format { return f }

// Header is what decoding takes: the map of absmax codes and the codebook (kernels.RegionHeader).
func (nf4Format) Header() []byte {
	header := make([]byte, kernels.RegionHeader*wordBytes)
	PutFloats(header, 0, doublequant.SignedMap[:])
	PutFloats(header, uint32(len(doublequant.SignedMap)), nf4.Codebook[:])
	return header
}

// Together is rows of whole blocks.
func (f nf4Format) Together(k int) int {
	rows := 1
	for rows*k%f.block != 0 {
		rows *= 2
	}
	return rows
}

// RowStep is whole blocks, and whole vec4 of outputs.
func (f nf4Format) RowStep(k int, _ int64) int { return max(4, f.Together(k)) }

func (f nf4Format) Bytes(rows, k int) int64 {
	blocks := nf4.Blocks(rows*k, f.block)
	// The first block may be the last of its group.
	words := Aligned(rows*k/8) + Aligned((blocks+3)/4) + Aligned(f.groups(blocks)+2)
	return int64(words) * wordBytes
}

func (f nf4Format) Pieces(row, rows, k int) []int {
	blocks := nf4.Blocks(rows*k, f.block)
	return []int{rows * k / 8, (blocks + 3) / 4, f.groups(f.firstBlock(row, k)+blocks) + 1}
}

// groups is how many nested absmax so many blocks have.
func (f nf4Format) groups(blocks int) int { return (blocks + f.group - 1) / f.group }

// firstBlock is where a shard's first block lies within its group.
func (f nf4Format) firstBlock(row, k int) int { return row * k / f.block % f.group }

// Places in Shard.Pieces.
const (
	nf4Packed = iota
	nf4Codes
	nf4Nested
)

// offsetWord is where the offset of the absmax lies.
func (f nf4Format) offsetWord(s *Shard, k int) uint32 {
	pieces := f.Pieces(s.Row, s.Rows, k)
	return s.Pieces[nf4Nested] + uint32(pieces[nf4Nested]) - 1
}

func (f nf4Format) Attach(w *Weight, part int, data []byte) {
	for i := range w.Shards {
		if s := &w.Shards[i]; s.Part == part {
			s.Parameter = math.Float32frombits(binary.LittleEndian.Uint32(data[f.offsetWord(s, w.K)*wordBytes:]))
		}
	}
}

func (f nf4Format) Open(w *Weight, parts []gpu.Range) Linear {
	open := &kernels.NF4Weight{Name: w.Name, N: w.N, K: w.K, BlockSize: f.block, Group: f.group}
	for _, s := range w.Shards {
		open.Shards = append(open.Shards, kernels.NF4Shard{
			Region: parts[s.Part], Row: s.Row, Rows: s.Rows,
			Packed: s.Pieces[nf4Packed], Codes: s.Pieces[nf4Codes], Nested: s.Pieces[nf4Nested], Bias: s.Bias,
			Offset: s.Parameter, FirstBlock: uint32(f.firstBlock(s.Row, w.K)),
		})
	}
	return open
}

func (f nf4Format) Writer(w *Weight, parts [][]byte) Writer {
	return &nf4Writer{f, w, parts, make([]float32, nf4.Blocks(w.N*w.K, f.block)), nil}
}
