package kernels

import "qlora-wgpu/gpu"

type fillParams struct {
	Count uint32
	Value float32
}

var fill = define("fill", "w", fillParams{})

// Fill sets every element of y, F32 in any number of shards, to value: one dispatch a shard.
func Fill(rec *gpu.Recorder, y *gpu.Tensor, value float32) {
	require(y.DType == gpu.F32, "fill", "%s is not F32", y.Name)
	for _, s := range y.Shards {
		n := s.Rows * y.Cols
		rec.Dispatch(fill.spec(nil), ceilDiv(n, 1024), int64(n), fillParams{Count: uint32(n), Value: value}, s.Range)
	}
}
