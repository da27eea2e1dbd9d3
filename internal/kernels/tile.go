package kernels

import (
	"fmt"

	"qlora-wgpu/gpu"
)

// tile is what a workgroup of tx × ty invocations owns in workgroup memory, each 4·rows4 tokens × 4·cols4 outputs.
type tile struct{ tx, ty, rows4, cols4 int }

var (
	thinTile  = tile{4, 16, 1, 1} // for LoRA's rank
	wideTiles = []tile{{8, 8, 1, 1}, {8, 8, 2, 2}, {8, 16, 2, 2}}
)

func (t tile) tokens() int  { return 4 * t.ty * t.rows4 }
func (t tile) outputs() int { return 4 * t.tx * t.cols4 }

// variant is a shader by such tiles, of which an invocation brings so many of the elements of W in a step.
func (t tile) variant(s *shader, brings int) Variant {
	return Variant{
		Name: fmt.Sprintf("tiled_%dx%d", t.tokens(), t.outputs()), Tolerance: productTolerance, made: graphics, parts: 1,
		shaders: []*shader{s}, constants: t.constants(brings), tokens: t.tokens(), outputs: t.outputs(),
	}
}

// What a step of 16 brings of a vec4 of outputs.
const (
	blocksOfW = 4  // of 4 × 4
	wordsOfW  = 8  // of 8 codes
	vec4OfW   = 16 // of 4 columns
)

// constants are a kernel's; 16 vec4 of W make what an invocation brings in a step.
func (t tile) constants(brings int) map[string]uint32 {
	lanes := t.tx * t.ty
	return map[string]uint32{
		"TX": uint32(t.tx), "TY": uint32(t.ty), "LANES": uint32(lanes), "ROWS4": uint32(t.rows4), "COLS4": uint32(t.cols4),
		"XR": uint32(t.tokens() / 4), "WR": uint32(t.outputs() / 4),
		"XB": uint32(4 * t.tokens() / lanes), "WB": uint32(ceilDiv(brings*t.outputs()/4, lanes)),
	}
}

// Where a product has fewer workgroups than fillGroups, what it sums over is cut into parts of sumOf, as far as all
// parts' sums fit partsBytes. That changes no byte: the sums are then added up as a workgroup that takes them all does.
const (
	sumOf      = 256
	partsBytes = 16 << 20
)

var fillGroups = 512

// partsOf is how many parts at once something of so many sums and so many output bytes is cut into; 1: it is not. A
// chunk without tokens has no groups and no bytes.
func partsOf(groups, sums int, bytes int64) int {
	if groups >= fillGroups || sums < 2 || groups == 0 {
		return 1
	}
	return max(1, min(sums, int(partsBytes/bytes)))
}

// inParts are the wide tiles, and the largest with its sums cut into parts: where the tiles are not enough to keep a
// GPU busy to the end, they are so many times more, and shorter.
func inParts(s *shader, brings int) (variants []Variant) {
	for _, t := range wideTiles {
		variants = append(variants, t.variant(s, brings))
	}
	largest := variants[len(variants)-1]
	for _, parts := range []int{3, 8} {
		v := largest
		v.Name, v.parts = fmt.Sprintf("%s_parts_%d", v.Name, parts), parts
		variants = append(variants, v)
	}
	return variants
}

// partStep is what parts are multiples of: the most columns of a row that share one absmax.
const partStep = 64

// cut is into how many parts the variant cuts sums of so many products, and how much of them each part but the last
// has. It does not cut short ones, nor where the parts of an output of so many bytes cannot be bound together.
func (v *Variant) cut(dev *gpu.Device, sum int, output int64) (parts, each int) {
	if v.parts == 1 || sum < v.parts*partStep || int64(v.parts)*output > dev.Limits.MaxBindingBytes {
		return 1, sum
	}
	each = ceilDiv(ceilDiv(sum, v.parts), partStep) * partStep
	return ceilDiv(sum, each), each
}

// partsScratch is a scratch for so many parts of a tensor.
func partsScratch(rec *gpu.Recorder, parts int, of *gpu.Tensor) *gpu.Tensor {
	b := rec.UniformScratch(scratchParts, int64(parts)*gpu.F32.Size(of.Rows*of.Cols))
	return (&gpu.Tensor{Name: b.Label, Shards: []gpu.Shard{{Range: b.All()}}}).View(parts*of.Rows, of.Cols)
}
