//go:build !js

package engine

import (
	"os"
	"testing"

	"qlora-wgpu/internal/demo/demotest"
)

func TestMain(m *testing.M) {
	demotest.OwnCache()
	os.Exit(m.Run())
}
