package nf4

// Dequantize unpacks len(dst) weights: dst[i] = Codebook[code i] * absmax[i/blockSize], one float32 multiply. packed is
// [PackedLen(len(dst))], absmax [Blocks(len(dst), blockSize)]; other sizes are bugs and panic.
func Dequantize(packed []byte, absmax []float32, blockSize int, dst []float32) {
	checkShapes("Dequantize", len(dst), blockSize, len(packed), len(absmax))
	for b, scale := range absmax {
		var values [16]float32
		for i, c := range Codebook {
			values[i] = c * scale
		}
		first := b * blockSize
		out := dst[first:min(first+blockSize, len(dst))]
		codes := packed[first/2:]
		for len(out) >= 2 {
			out[0], out[1] = values[codes[0]>>4], values[codes[0]&15]
			out, codes = out[2:], codes[1:]
		}
		if len(out) == 1 {
			out[0] = values[codes[0]>>4]
		}
	}
}
