package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCache(t *testing.T) {
	dir := t.TempDir()
	status, stdout, stderr := invoke(t, "cache", "--cache-dir", dir)
	require.Zero(t, status, stderr)
	require.Equal(t, "0 quantized models, 0.0 KiB of at most 20.00 GiB, in "+filepath.Join(dir, "nf4")+"\n", stdout)

	name := filepath.Join(dir, "nf4", "0123456789abcdef-x-y.nf4")
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o777))
	require.NoError(t, os.WriteFile(name, make([]byte, 2_500_000), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nf4", "models.json"), []byte("[]"), 0o666))
	status, stdout, stderr = invoke(t, "cache", "--cache-dir", dir)
	require.Zero(t, status, stderr)
	require.Regexp(t, `^ +2\.4 MiB  last used \S+ \S+  \S+\.nf4\n1 quantized models, 2\.4 MiB of`, stdout)
	status, stdout, stderr = invoke(t, "cache", "--cache-dir", dir, "--json")
	require.Zero(t, status, stderr)
	var listed []struct {
		Path  string
		Bytes int64
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &listed))
	require.Equal(t, name, listed[0].Path)
	require.EqualValues(t, 2_500_000, listed[0].Bytes)

	status, stdout, stderr = invoke(t, "cache", "--cache-dir", dir, "--clear")
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "removed 2.4 MiB: "+name+"\n0 quantized models")
	require.NoFileExists(t, name)
	status, stdout, stderr = invoke(t, "cache", "--cache-dir", dir, "--clear", "--json")
	require.Zero(t, status, stderr)
	require.Equal(t, "[]\n", stdout)

	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	status, _, stderr = invoke(t, "cache", "--cache-dir", file)
	require.Equal(t, statusUserError, status)
	require.Contains(t, stderr, "list cache "+filepath.Join(file, "nf4"))
}
