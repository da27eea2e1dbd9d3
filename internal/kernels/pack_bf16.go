package kernels

import "qlora-wgpu/gpu"

type bf16Params struct{ Count4 uint32 }

var (
	packBF16   = define("pack_bf16", "iw", bf16Params{})
	unpackBF16 = define("unpack_bf16", "iw", bf16Params{})
)

// PackBF16 is y = x rounded to bf16 (nearest, ties to even; infinities and NaN stay what they are): x F32 [T, C], y
// BF16 [T, C], with C a multiple of 4.
func PackBF16(rec *gpu.Recorder, y, x *gpu.Tensor) {
	recordBF16(rec, packBF16, y, x, y)
}

// UnpackBF16 is y = x, exactly: x BF16 [T, C], y F32 [T, C], with C a multiple of 4.
func UnpackBF16(rec *gpu.Recorder, y, x *gpu.Tensor) {
	recordBF16(rec, unpackBF16, y, x, x)
}

func recordBF16(rec *gpu.Recorder, s *shader, y, x, packed *gpu.Tensor) {
	sameShape(s.name, y, x)
	require(packed.DType == gpu.BF16 && x.DType != y.DType, s.name, "%s and %s have the types %d and %d", x.Name, y.Name, x.DType, y.DType)
	require(y.Cols%4 == 0, s.name, "%d columns are no multiple of 4", y.Cols)
	n := y.Rows * y.Cols / 4
	rec.Dispatch(s.spec(nil), ceilDiv(n, 256), int64(8*n), bf16Params{Count4: uint32(n)}, x.Single(), y.Single())
}
