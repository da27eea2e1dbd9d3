package kernels

import (
	"math/bits"

	"qlora-wgpu/gpu"
)

// NF4Weight is the frozen weight W [N, K] of a linear in NF4 with double quantization, cut by rows into shards. Every
// shard's data lies within one region part, a buffer that starts with RegionHeader: the offsets count 4-byte words from
// the part's start.
type NF4Weight struct {
	Name            string
	N, K, BlockSize int
	// Group is how many blocks share a nested absmax. With 1 it is the block's own absmax, where no code but that of 1
	// and no offset stand before it: without double quantization.
	Group  int
	Shards []NF4Shard
}

// NF4Shard is rows [Row, Row+Rows) of a weight.
type NF4Shard struct {
	Region     gpu.Range
	Row, Rows  int
	Packed     uint32 // u32 words of 8 codes, in bitsandbytes' nibble order
	Codes      uint32 // one byte of absmax code a block
	Nested     uint32 // float32 nested absmax, one for a group of blocks
	Bias       uint32 // float32 [Rows], or NoBias
	Offset     float32
	FirstBlock uint32 // where the shard's first block lies within its group
}

// NoBias marks a linear without bias.
const NoBias = ^uint32(0)

// RegionHeader is the words at the start of every region part: the signed dynamic map of the double quantization (256
// float32) and the NF4 codebook (16 float32).
const RegionHeader = 256 + 16

func (w *NF4Weight) check(kernel string) {
	require(w.K%8 == 0 && w.N%4 == 0, kernel, "%s is %d×%d: rows must be a multiple of 4 and columns of 8", w.Name, w.N, w.K)
}

func (w *NF4Weight) blockShift() uint32 { return uint32(bits.TrailingZeros(uint(w.BlockSize))) }
func (w *NF4Weight) groupShift() uint32 { return uint32(bits.TrailingZeros(uint(w.Group))) }

// shifts is both, as the kernels take them.
func (w *NF4Weight) shifts() uint32 { return w.blockShift() | w.groupShift()<<8 }

// span is how many columns in a row are sure to share one absmax.
func (w *NF4Weight) span() int {
	for _, s := range []int{partStep, 32} {
		if w.BlockSize >= s && w.K%s == 0 {
			return s
		}
	}
	return 8
}

// scaleWindows are the uniform arrays in which a dispatch over some of a shard's rows finds their scales.
type scaleWindows struct {
	maps, codes, nested     gpu.Range
	codesFirst, nestedFirst uint32
}

// scales binds the absmax of rows from first on of a shard, as many as rowsOfCodes allows.
func (w *NF4Weight) scales(s NF4Shard, first int) scaleWindows {
	b, base := s.Region.Buffer, s.Region.Offset
	block := int64(first) * int64(w.K) >> w.blockShift()
	maps, _ := b.UniformWindow(base)
	codes, skip := b.UniformWindow(base + 4*int64(s.Codes) + block)
	group := (int64(s.FirstBlock) + block) >> w.groupShift()
	nested, skipped := b.UniformWindow(base + 4*(int64(s.Nested)+group))
	return scaleWindows{maps: maps, codes: codes, nested: nested, codesFirst: uint32(skip - block), nestedFirst: uint32(skipped/4 - group)}
}

// rowsOfCodes is how many rows have their absmax codes, and their nested absmax, in one uniform window wherever that
// starts.
func (w *NF4Weight) rowsOfCodes() int {
	const codes, nested = gpu.UniformBytes - 256 - 1, (gpu.UniformBytes - 256) / 4
	return min(codes, (nested-1)<<w.groupShift()) << w.blockShift() / w.K
}

// Forward, Backward and Dequantize make it a frozen linear; internal/frozen says what that is.

func (w *NF4Weight) Forward(rec *gpu.Recorder, y, x *gpu.Tensor) { MatmulNF4Forward(rec, y, x, w) }

func (w *NF4Weight) Backward(rec *gpu.Recorder, dx, dy *gpu.Tensor, accumulate bool) {
	MatmulNF4Backward(rec, dx, dy, w, accumulate)
}

func (w *NF4Weight) Dequantize(rec *gpu.Recorder, out *gpu.Tensor) {
	DequantizeNF4Forward(rec, out, w)
}
