// Package version tells which build of the program this is.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// What tools/release has the linker set, so that a release does not depend on how the folder was checked out.
var release, commit, committed string

// Build is what the build knew of itself: where tools/release did not make it, what Go notes of version control.
type Build struct {
	Version string `json:"version"`          // a tag, or what Go makes of the commit; "unknown" outside version control
	Commit  string `json:"commit,omitempty"` // 40 hexadecimal digits
	Time    string `json:"time,omitempty"`   // of the commit
	Changed bool   `json:"changed"`          // files differed from the commit
	Go      string `json:"go"`
	System  string `json:"system"`
	WebGPU  string `json:"webgpu,omitempty"` // the binding, which brings the library
}

// Of reads the build of this program.
func Of() Build {
	b := Build{Version: "unknown", Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.take(info)
	}
	if release != "" {
		b.Version, b.Commit, b.Time = release, commit, committed
	}
	return b
}

func (b *Build) take(info *debug.BuildInfo) {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Changed = s.Value == "true"
		}
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/cogentcore/webgpu" {
			b.WebGPU = m.Path + " " + m.Version
		}
	}
}

// Revision is the commit in short, as far as the build knew it.
func (b Build) Revision() string {
	revision := b.Commit[:min(12, len(b.Commit))]
	if revision == "" {
		return "unknown"
	}
	if b.Changed {
		revision += ", changed"
	}
	return revision
}

// String is one line.
func (b Build) String() string {
	return fmt.Sprintf("qlora-wgpu %s (commit %s; %s, %s)", b.Version, b.Revision(), b.Go, b.System)
}
