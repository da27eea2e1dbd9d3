package main

import (
	"bytes"
	"encoding/json"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/version"
)

func TestVersion(t *testing.T) {
	var text, object bytes.Buffer
	require.Zero(t, run(&console{context: t.Context(), args: []string{"version"}, stdout: &text, stderr: &text}))
	require.Contains(t, text.String(), "qlora-wgpu ")
	require.Contains(t, text.String(), runtime.GOOS+"/"+runtime.GOARCH)
	require.Zero(t, run(&console{context: t.Context(), args: []string{"version", "--json"}, stdout: &object, stderr: &text}))
	var b version.Build
	require.NoError(t, json.Unmarshal(object.Bytes(), &b))
	require.Equal(t, version.Of(), b)
}
