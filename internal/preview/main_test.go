//go:build !js

package preview

import (
	"os"
	"testing"

	"qlora-wgpu/internal/demo/demotest"
)

func TestMain(m *testing.M) {
	demotest.OwnCache()
	os.Exit(m.Run())
}
