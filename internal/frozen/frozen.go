// Package frozen knows the formats in which the frozen weights of linears are kept: what bytes they are, the same on
// disk, in host memory and on the device, and which kernels compute with them. Whoever places, streams or trains with
// weights knows a Format and a Linear, and no more.
package frozen

import (
	"encoding/binary"
	"fmt"
	"math"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

// Linear is a frozen weight W [N, K] on the device, and a bias [N] where it has one. Activations are float32. Tensors
// of other shapes are a bug of the caller and panic.
type Linear interface {
	// Forward is y [T, N] = x [T, K] Wᵀ (+ bias).
	Forward(rec *gpu.Recorder, y, x *gpu.Tensor)
	// Backward is dx [T, K] = dy [T, N] W, added to dx when accumulate is set. W has no gradient: it is frozen.
	Backward(rec *gpu.Recorder, dx, dy *gpu.Tensor, accumulate bool)
	// Dequantize writes W [N, K] as float32.
	Dequantize(rec *gpu.Recorder, w *gpu.Tensor)
}

// Formats says how the weights of a model's linears are kept. A Format is one for all of them.
type Formats interface {
	// String tells people how weights are kept.
	fmt.Stringer
	// Key tells apart formats whose bytes differ: caches go by it.
	Key() string
	// Cached tells whether making the bytes of a model file takes so long that a cache is worth its room.
	Cached() bool
	// Header is what each part of a region begins with; nil: nothing.
	Header() []byte
	// Of is the format of a linear, by its name: model.layers.0.self_attn.q_proj.
	Of(linear string) Format
}

// Format is a way to keep weights. A region of weights is cut into parts. A weight lies in shards, whole rows within
// one part; a shard is a few pieces, one after another.
type Format interface {
	Formats
	// RowStep is how many rows lie between possible cuts of a weight with k columns, where a part holds limit bytes.
	RowStep(k int, limit int64) int
	// Bytes is what so many rows of k columns take at most, wherever they begin, each piece aligned.
	Bytes(rows, k int) int64
	// Pieces lists the words of 4 bytes that each piece of rows [row, row+rows) takes.
	Pieces(row, rows, k int) []int
	// Attach takes from the bytes of a part what kernels are told as a parameter, for the weight's shards in it.
	Attach(w *Weight, part int, data []byte)
	// Open is the weight on the device, where parts has at least those that the weight lies in. It holds as long as
	// they do.
	Open(w *Weight, parts []gpu.Range) Linear
	// Together is the fewest rows of k columns that can be written alone.
	Together(k int) int
	// Writer puts a weight's values into parts, which have their headers.
	Writer(w *Weight, parts [][]byte) Writer
}

// Writer makes the bytes of a weight [N, K] of its values.
type Writer interface {
	// Rows takes the rows from row on, a multiple of Together; only the weight's last rows may be fewer than a
	// multiple. It may be called for other rows at once. It returns the place of the first value that is not finite,
	// or -1.
	Rows(row int, values []float32) (notFinite int)
	// Finish is called after all rows, with the bias [N], nil where the weight has none.
	Finish(bias []float32)
}

// Weight is where a weight [N, K] lies in a region's parts.
type Weight struct {
	Name   string
	Format Format
	N, K   int
	Shards []Shard // in the order of rows
}

// Shard is rows [Row, Row+Rows) of a weight, in one part. Places are words of 4 bytes from the part's beginning.
type Shard struct {
	Part, Row, Rows int
	Pieces          []uint32
	Bias            uint32  // float32 [Rows], or kernels.NoBias
	Parameter       float32 // what kernels are told beside the bytes; see Attach
}

const (
	wordBytes  = 4
	alignWords = 64 // 256 bytes, on which a binding can begin
)

// Aligned is the words that a piece takes with what follows up to the next one.
func Aligned(words int) int { return (words + alignWords - 1) / alignWords * alignWords }

// each calls f with the shards that hold values [rows, K] from row on, and with those of them that each holds.
func (w *Weight) each(row int, values []float32, f func(s *Shard, row int, values []float32)) {
	for i := range w.Shards {
		s := &w.Shards[i]
		if len(values) == 0 || row >= s.Row+s.Rows {
			continue
		}
		n := min(len(values), (s.Row+s.Rows-row)*w.K)
		f(s, row, values[:n])
		row, values = row+n/w.K, values[n:]
	}
}

// finishBias puts the bias into its places.
func (w *Weight) finishBias(parts [][]byte, bias []float32) {
	for _, s := range w.Shards {
		if s.Bias != kernels.NoBias {
			PutFloats(parts[s.Part], s.Bias, bias[s.Row:s.Row+s.Rows])
		}
	}
}

// PutFloats writes float32 values into a part from a word on.
func PutFloats(part []byte, word uint32, values []float32) {
	for i, v := range values {
		binary.LittleEndian.PutUint32(part[(int(word)+i)*wordBytes:], math.Float32bits(v))
	}
}
