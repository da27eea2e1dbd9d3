package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/usererr"
)

func TestDemoKeepsWhatIsThere(t *testing.T) {
	d := demoCommand{OutputDir: t.TempDir()}
	config, err := d.unpack()
	require.NoError(t, err)
	require.NoError(t, config.Check())
	require.False(t, config.Overwrite, "the folder was not the demo's: a run in it stays")
	data, err := os.ReadFile(config.Data)
	require.NoError(t, err)
	require.Equal(t, demo.Train(), data)
	config, err = d.unpack()
	require.NoError(t, err)
	require.True(t, config.Overwrite, "a second demo replaces the first one's run")

	name := filepath.Join(d.OutputDir, "model", "config.json")
	require.NoError(t, os.WriteFile(name, []byte("{}"), 0o666))
	_, err = d.unpack()
	require.EqualError(t, err, "demo "+name+": the file is not the demo's (remove the folder, or choose another --output-dir)")
	require.True(t, usererr.Is(err, usererr.Invalid))
	left, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "{}", string(left))
}

func TestMatches(t *testing.T) {
	examples := []demo.Example{{Answer: "Arr"}, {Answer: "Aye"}, {Answer: "No"}}
	require.Equal(t, "2 of 3 (67 %)", matches([]string{"Arr", "aye", "No"}, examples))
	require.Equal(t, "0 of 3 (0 %)", matches([]string{"", "", ""}, examples))
}
