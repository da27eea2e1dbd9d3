package version

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBuild(t *testing.T) {
	b := Build{Version: "unknown", Go: "go1.27.0", System: "windows/amd64"}
	require.Equal(t, "qlora-wgpu unknown (commit unknown; go1.27.0, windows/amd64)", b.String())

	info := &debug.BuildInfo{
		Main: debug.Module{Version: "v1.2.3"},
		Deps: []*debug.Module{{Path: "golang.org/x/sys", Version: "v0.1.0"}, {Path: "github.com/cogentcore/webgpu", Version: "v0.23.0"}},
		Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "aa2c0003d6b54a0fb2b0a8dbcbb5c1aa6a8a5a11"}, {Key: "vcs.time", Value: "2026-11-30T07:00:00Z"},
			{Key: "vcs.modified", Value: "false"},
		},
	}
	b.take(info)
	require.Equal(t, "qlora-wgpu v1.2.3 (commit aa2c0003d6b5; go1.27.0, windows/amd64)", b.String())
	require.Equal(t, "2026-11-30T07:00:00Z", b.Time)
	require.Equal(t, "github.com/cogentcore/webgpu v0.23.0", b.WebGPU)

	info.Main.Version, info.Settings[2].Value = "(devel)", "true"
	b = Build{Version: "unknown"}
	b.take(info)
	require.Equal(t, "unknown", b.Version)
	require.Equal(t, "aa2c0003d6b5, changed", b.Revision())

	require.Equal(t, runtime.Version(), Of().Go)
}
