package nf4

import "testing"

func benchmark(b *testing.B, run func(x []float32, packed []byte, absmax []float32)) {
	x := normals(1, 1<<22)
	packed, absmax := quantize(x, 64)
	b.SetBytes(int64(4 * len(x)))
	for b.Loop() {
		run(x, packed, absmax)
	}
	b.ReportMetric(float64(len(x))*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mweights/s")
}

func BenchmarkQuantize(b *testing.B) {
	benchmark(b, func(x []float32, packed []byte, absmax []float32) { Quantize(x, 64, packed, absmax) })
}

func BenchmarkQuantizeParallel(b *testing.B) {
	benchmark(b, func(x []float32, packed []byte, absmax []float32) { QuantizeParallel(x, 64, packed, absmax) })
}

func BenchmarkDequantize(b *testing.B) {
	benchmark(b, func(x []float32, packed []byte, absmax []float32) { Dequantize(packed, absmax, 64, x) })
}
