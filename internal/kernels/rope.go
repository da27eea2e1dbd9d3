package kernels

import "qlora-wgpu/gpu"

type ropeParams struct {
	Tokens       uint32
	Heads        uint32
	HeadDim4     uint32
	LastPosition uint32
	Direction    float32
}

var ropeForward = define("rope_forward", "wirr", ropeParams{})

// RoPEForward rotates x [T, heads*headDim] in place: y[i] = x[i]*cos - x[i+D/2]*sin and y[i+D/2] = x[i+D/2]*cos + x[i]*sin in
// every head, transformers' rotate_half convention. cos and sin are frozen tables [P, D/2]; positions is U32 with at least T
// elements, and one beyond the tables reads their last row. headDim is a multiple of 4.
//
// Source: RoFormer (arXiv 2104.09864); the tables are made on the host, where sin and cos are exact for large angles.
func RoPEForward(rec *gpu.Recorder, x, cos, sin, positions *gpu.Tensor, heads, headDim int) {
	rotate(rec, x, cos, sin, positions, heads, headDim, 1)
}

// RoPEBackward turns dx back by the same angles, in place: the forward kernel with the sine negated.
func RoPEBackward(rec *gpu.Recorder, dx, cos, sin, positions *gpu.Tensor, heads, headDim int) {
	rotate(rec, dx, cos, sin, positions, heads, headDim, -1)
}

func rotate(rec *gpu.Recorder, x, cos, sin, positions *gpu.Tensor, heads, headDim int, direction float32) {
	const kernel = "rope_forward"
	require(headDim%4 == 0 && x.Cols == heads*headDim, kernel, "%s has %d columns, not %d heads of %d", x.Name, x.Cols, heads, headDim)
	sameShape(kernel, cos, sin)
	require(cos.Cols == headDim/2, kernel, "tables of %d columns for heads of %d", cos.Cols, headDim)
	require(positions.Rows*positions.Cols >= x.Rows, kernel, "%d positions for %d tokens", positions.Rows*positions.Cols, x.Rows)
	params := ropeParams{uint32(x.Rows), uint32(heads), uint32(headDim / 4), uint32(cos.Rows - 1), direction}
	groups := ceilDiv(x.Rows*headDim/4, 64)
	rec.Dispatch(ropeForward.spec(nil), groups, int64(4*x.Rows*x.Cols), params, x.Single(), positions.Single(), cos.Single(), sin.Single())
}
