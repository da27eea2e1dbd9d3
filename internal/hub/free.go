//go:build !js

package hub

import "qlora-wgpu/internal/checkpoint"

// free counts the bytes that may still be written to a folder's disk; negative: that is not known.
func free(dir string) int64 {
	n, err := checkpoint.Files{}.Free(dir)
	if err != nil {
		return -1
	}
	return n
}
