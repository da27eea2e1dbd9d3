package reference

import (
	"qlora-wgpu/doublequant"
	"qlora-wgpu/nf4"
)

// NF4Weight is a frozen weight [N, K] as it is stored, with or without double quantization. A quantized matmul is
// MatmulForward and MatmulBackwardInput on what Dequantize gives.
type NF4Weight struct {
	Packed    []byte            // [ceil(N*K/2)]
	Absmax    []float32         // [blocks], without double quantization; used when Nested.Codes is nil
	Nested    doublequant.State // double quantization: codes [blocks], nested absmax [ceil(blocks/256)], offset
	BlockSize int
}

// NF4Quantize stores n weights in blocks with double quantization.
func NF4Quantize(w []float32, blockSize int) NF4Weight {
	stored := NF4QuantizeSingle(w, blockSize)
	stored.Nested = doublequant.Quantize(stored.Absmax)
	return stored
}

// NF4QuantizeSingle stores n weights in blocks without double quantization.
func NF4QuantizeSingle(w []float32, blockSize int) NF4Weight {
	packed, absmax := make([]byte, nf4.PackedLen(len(w))), make([]float32, nf4.Blocks(len(w), blockSize))
	nf4.Quantize(w, blockSize, packed, absmax)
	return NF4Weight{Packed: packed, Absmax: absmax, BlockSize: blockSize}
}

// Dequantize gives the n weights: codebook[code] * absmax with absmax = map[code]*nested + offset, each operation
// rounded to float32 as the format defines it, then widened.
func (w NF4Weight) Dequantize(n int) []float64 {
	absmax := w.Absmax
	if w.Nested.Codes != nil {
		absmax = make([]float32, len(w.Nested.Codes))
		w.Nested.Dequantize(absmax)
	}
	values := make([]float32, n)
	nf4.Dequantize(w.Packed, absmax, w.BlockSize, values)
	wide := make([]float64, n)
	for i, v := range values {
		wide[i] = float64(v)
	}
	return wide
}
