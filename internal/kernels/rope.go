package kernels

import "qlora-wgpu/gpu"

type ropeParams struct {
	Tokens       uint32
	Heads        uint32
	HeadDim2     uint32
	RotaryDim4   uint32
	LastPosition uint32
	Direction    float32
}

var ropeForward = define("rope_forward", "wirr", ropeParams{})

// RoPE is a rotation of the first R dimensions of heads: frozen tables Cos and Sin [P, R/2], made on the host, where
// they are exact for large angles, and Positions, U32 with at least T elements; one beyond the tables reads their last
// row.
type RoPE struct {
	Cos, Sin, Positions *gpu.Tensor
	Heads, HeadDim      int // HeadDim and R are multiples of 4
}

// RoPEForward rotates x [T, heads*headDim] in place: y[i] = x[i]*cos - x[i+R/2]*sin and y[i+R/2] = x[i+R/2]*cos +
// x[i]*sin in every head, transformers' rotate_half convention.
//
// Source: RoFormer (arXiv 2104.09864).
func RoPEForward(rec *gpu.Recorder, x *gpu.Tensor, r RoPE) { r.rotate(rec, x, 1) }

// RoPEBackward turns dx back by the same angles, in place: the forward kernel with the sine negated.
func RoPEBackward(rec *gpu.Recorder, dx *gpu.Tensor, r RoPE) { r.rotate(rec, dx, -1) }

func (r RoPE) rotate(rec *gpu.Recorder, x *gpu.Tensor, direction float32) {
	const kernel = "rope_forward"
	require(r.HeadDim%4 == 0 && x.Cols == r.Heads*r.HeadDim, kernel,
		"%s has %d columns, not %d heads of %d", x.Name, x.Cols, r.Heads, r.HeadDim)
	sameShape(kernel, r.Cos, r.Sin)
	rotary := 2 * r.Cos.Cols
	require(rotary%4 == 0 && rotary <= r.HeadDim, kernel, "tables of %d columns for heads of %d", r.Cos.Cols, r.HeadDim)
	positions := r.Positions.Rows * r.Positions.Cols
	require(positions >= x.Rows, kernel, "%d positions for %d tokens", positions, x.Rows)
	params := ropeParams{
		Tokens: uint32(x.Rows), Heads: uint32(r.Heads), HeadDim2: uint32(r.HeadDim / 2), RotaryDim4: uint32(rotary / 4),
		LastPosition: uint32(r.Cos.Rows - 1), Direction: direction,
	}
	groups := ceilDiv(x.Rows*rotary/4, 64)
	rec.Dispatch(ropeForward.spec(nil), groups, int64(3*x.Rows*r.Heads*rotary), params,
		x.Single(), r.Positions.Single(), r.Cos.Single(), r.Sin.Single())
}
