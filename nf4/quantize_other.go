//go:build !amd64

package nf4

// quantizeBlocks quantizes the leading blocks for which this processor has instructions: none.
func quantizeBlocks([]float32, int, []byte, []float32) int { return 0 }
