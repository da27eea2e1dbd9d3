//go:build !js && !windows

package checkpoint

import (
	"os"

	"qlora-wgpu/internal/files"
)

func rename(from, to string) error { return os.Rename(from, to) }

func removeAll(name string) error { return os.RemoveAll(name) }

func openShared(name string) (*os.File, error) { return files.Open(name) }
