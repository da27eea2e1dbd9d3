package kernels

import (
	"fmt"
	"slices"

	"qlora-wgpu/gpu"
)

// product is y [T, N], x [T, K] and w [N, K], of which one is made of the other two: y forward, x back to the input,
// w as a gradient.
type product struct {
	y, x, w    *gpu.Tensor
	alpha      float32
	accumulate bool
}

func (p product) count() int         { return p.x.Rows }
func (p product) class() string      { return matmulClass(p.x.Rows, p.w.Rows, p.w.Cols) }
func (p product) storage() gpu.DType { return p.w.DType }

// flops of so many tokens, rows and columns.
func flops(tokens, rows, cols int) int64 { return int64(2*tokens) * int64(rows) * int64(cols) }

// productTolerance is for float32 sums of K products: a relative error of about 2^-24·sqrt(K), NMSE K·2^-48, below
// 1e-11 at K = 1,536. A wrong code or scale of a weight shows above 1e-5.
const productTolerance = 1e-11

// f32 is the storage of matrices that are read through uniform arrays as they are.
var f32 = []gpu.DType{gpu.F32}

// largeTileWeights is the matrix from which on a browser's software device gets a large tile, which it compiles for 1
// to 6 seconds. On smaller ones no step gains by that.
const largeTileWeights = 1 << 18

func (p product) small(*gpu.Device) bool { return p.w.Rows*p.w.Cols < largeTileWeights }

// narrowRows and narrowCols are LoRA's matrices at their narrow side; frozen ones, in bfloat16, are not read so.
func (p product) narrowRows(*gpu.Device) bool {
	return p.w.DType == gpu.F32 && p.w.Rows <= 64 && p.w.Cols >= 64
}

func (p product) narrowCols(*gpu.Device) bool {
	return p.w.DType == gpu.F32 && p.w.Cols <= 64 && p.w.Rows >= 64
}

func registersName(t, n int) string { return fmt.Sprintf("registers_%dx%d", t, n) }

var matmulForward = newOperation(operation[product]{
	name: BenchForward,
	of:   OfHead,
	variants: slices.Concat([]variant[product]{
		forwardRegisters(1, 1).forFew(), forwardRegisters(16, 1).hasLarger(), forwardRegisters(16, 4).hasLarger(), forwardRegisters(32, 4),
		forwardUniform(1).hasLarger(), forwardUniform(2), forwardNarrow, forwardThin,
	}, forwardTiled, forwardVectors),
	rules: []rule[product]{
		{on: software, tokens: exactly(1), where: product.headInWindows, take: "vector_uniform"},
		{on: graphics, tokens: exactly(1), take: "vector_1"},
		{on: graphics, tokens: upTo(8), take: "vector_4"},
		{tokens: upTo(4), take: "registers_1x1"},
		{on: cpus, where: product.narrowRows, take: "uniform_narrow"},
		{on: software, where: func(p product, _ *gpu.Device) bool { return p.w.Cols >= 64 }, take: "uniform_32x2"},
		{on: software, take: "uniform_thin"},
		{on: softwareBrowser, where: product.small, take: "registers_16x1"},
		{on: softwareBrowser, take: "registers_16x4"},
		{where: func(p product, _ *gpu.Device) bool { return p.w.Rows <= 32 }, take: "tiled_64x16"},
		{tokens: upTo(32), take: "tiled_32x32"},
		{take: "tiled_64x64"},
	},
	tuned:    true,
	operands: productOperands,
})

// MatmulForward is y [T, N] = alpha · x [T, K] wᵀ, w [N, K] in F32 or BF16, sharded by rows or not; added to y when
// accumulate is set. K is a multiple of 4. Where N is not, y's columns are the next multiple of 4 and the padding is
// undefined.
func MatmulForward(rec *gpu.Recorder, y, x, w *gpu.Tensor, alpha float32, accumulate bool) {
	require(x.Cols == w.Cols && y.Cols == (w.Rows+3)/4*4 && x.Rows == y.Rows && x.Cols%4 == 0, matmulForward.name,
		"w is %d×%d, x %d×%d, y %d×%d", w.Rows, w.Cols, x.Rows, x.Cols, y.Rows, y.Cols)
	matmulForward.run(rec, product{y: y, x: x, w: w, alpha: alpha, accumulate: accumulate})
}

var matmulBackward = newOperation(operation[product]{
	name: BenchBackward,
	of:   OfHead,
	variants: slices.Concat([]variant[product]{
		backwardRegisters(4, 1).forFew(), backwardRegisters(16, 1).hasLarger(), backwardRegisters(16, 4),
		backwardUniform(1).hasLarger(), backwardUniform(2), backwardNarrow, backwardThin,
	}, backwardTiled),
	rules: []rule[product]{
		{tokens: upTo(4), take: "registers_4x1"},
		{on: cpus, where: product.narrowCols, take: "uniform_narrow"},
		{on: software, where: func(p product, _ *gpu.Device) bool { return p.w.Rows >= 64 }, take: "uniform_32x2"},
		{on: software, take: "uniform_thin"},
		{on: softwareBrowser, where: product.small, take: "registers_16x1"},
		{on: softwareBrowser, take: "registers_16x4"},
		{where: func(p product, _ *gpu.Device) bool { return p.w.Cols <= 32 }, take: "tiled_64x16"},
		{tokens: upTo(32), take: "tiled_32x32"},
		{take: "tiled_64x64"},
	},
	sumsRows: true,
	tuned:    true,
	operands: productOperands,
})

// MatmulBackward is dx [T, K] = alpha · dy [T, N] w, w [N, K] in F32 or BF16; added to dx when accumulate is set. N and
// K are multiples of 4; dy may have more columns than w has rows (a padded vocabulary).
func MatmulBackward(rec *gpu.Recorder, dx, dy, w *gpu.Tensor, alpha float32, accumulate bool) {
	require(dx.Cols == w.Cols && dy.Cols >= w.Rows && dx.Rows == dy.Rows && w.Cols%4 == 0 && w.Rows%4 == 0 && dy.Cols%4 == 0,
		matmulBackward.name, "w is %d×%d, dx %d×%d, dy %d×%d", w.Rows, w.Cols, dx.Rows, dx.Cols, dy.Rows, dy.Cols)
	matmulBackward.run(rec, product{y: dy, x: dx, w: w, alpha: alpha, accumulate: accumulate})
}

const matmulGradientName = "matmul_gradient"

var matmulGradient = newOperation(operation[product]{
	name: matmulGradientName,
	of:   OfAdapters,
	variants: []variant[product]{
		gradientRegisters(1, 1), gradientRegisters(4, 1), gradientRegisters(4, 4), gradientUniform, gradientTiled(16, 4), gradientTiled(4, 16),
	},
	rules: []rule[product]{
		{on: cpus, take: "uniform_16x1"},
		{where: func(p product, _ *gpu.Device) bool { return p.w.Rows > p.w.Cols }, take: "tiled_64x16"},
		{take: "tiled_16x64"},
	},
	operands: productOperands,
})

// MatmulGradient is dw [N, K] += alpha · dyᵀ [N, T] x [T, K]. N and K are multiples of 4.
func MatmulGradient(rec *gpu.Recorder, dw, dy, x *gpu.Tensor, alpha float32) {
	require(dw.Rows == dy.Cols && dw.Cols == x.Cols && dy.Rows == x.Rows && dw.Rows%4 == 0 && dw.Cols%4 == 0, matmulGradient.name,
		"dw is %d×%d, dy %d×%d, x %d×%d", dw.Rows, dw.Cols, dy.Rows, dy.Cols, x.Rows, x.Cols)
	matmulGradient.run(rec, product{y: dy, x: x, w: dw, alpha: alpha, accumulate: true})
}

// productOperands are a cell's. Of the plain products only those with the head's table and with frozen linears in 16
// bits are heavy, and these are bfloat16.
func productOperands(m *maker, c Cell) product {
	if m.activationsTooBig(c) {
		return product{}
	}
	dtype := gpu.BF16
	if c.Op == BenchF32Forward || c.Op == matmulGradientName {
		dtype = gpu.F32
	}
	rows := (c.N + 3) / 4 * 4
	return product{x: m.tensor(gpu.F32, c.T, c.K), y: m.tensor(gpu.F32, c.T, rows), w: m.tensor(dtype, rows, c.K), alpha: 1}
}
