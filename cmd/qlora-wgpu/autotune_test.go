//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
)

// measured is what of the cache of measurements this test looks at.
type measured struct {
	SelfCheck bool              `json:"self_check"`
	Variants  map[string]string `json:"variants"`
	Trying    string            `json:"trying"`
	Deaths    map[string]int    `json:"deaths"`
}

func readMeasured(dir string) (m measured) {
	names, _ := filepath.Glob(filepath.Join(dir, "device-*.json"))
	for _, name := range names {
		text, _ := os.ReadFile(name)
		_ = json.Unmarshal(text, &m)
	}
	return m
}

// A candidate that takes the training process with it costs a restart, and is left out from then on. Measured first is
// what most steps take, not what the longest row asks for.
func TestAutotuneSurvivesACandidate(t *testing.T) {
	cache, data := t.TempDir(), demotest.Rows(t, 8)
	rows, err := os.ReadFile(data)
	require.NoError(t, err)
	first, _, _ := bytes.Cut(rows, []byte("\n"))
	require.NoError(t, os.WriteFile(data, append(rows,
		bytes.Replace(first, []byte(`"content": "`), []byte(`"content": "`+strings.Repeat("The doll is gray. ", 30)), 1)...), 0o666))
	p := start(t, "train", "--model", demotest.Model(t, 1, nil),
		"--data", data, "--output-dir", filepath.Join(t.TempDir(), "out"), "--cache-dir", cache,
		"--max-steps=1", "--save-steps=0", "--batch-size=1", "--gradient-accumulation-steps=1", "--lora-r=4", "--autotune=on")
	p.waitFor(childLine, 1)
	child, late := p.child(1), time.Now().Add(longEnough)
	candidate := func() string {
		if c := readMeasured(cache).Trying; !strings.HasSuffix(c, " compiled together") {
			return c
		}
		return ""
	}
	for candidate() == "" {
		require.True(t, p.runs() && time.Now().Before(late), p.text())
		time.Sleep(10 * time.Millisecond)
		_ = syscall.Kill(child, syscall.SIGSTOP) // what is being tried stays so while this looks
		if candidate() == "" {
			_ = syscall.Kill(child, syscall.SIGCONT)
		}
	}
	tried := candidate()
	require.Contains(t, tried, " T128 ", "the longest of the rows, which have about 50 tokens, has 180")
	require.NoError(t, syscall.Kill(child, syscall.SIGKILL))
	require.Zero(t, p.end(), p.text())
	require.Equal(t, 1, strings.Count(p.text(), "The training process died: "), p.text())
	require.Contains(t, p.text(), "warning: A process died while the autotune tried "+tried+": it is left out on this device from now on.\n")
	after := readMeasured(cache)
	require.Equal(t, map[string]int{tried: 2}, after.Deaths)
	require.Empty(t, after.Trying)
	at := strings.LastIndexByte(tried, ' ')
	chosen := after.Variants[tried[:at]]
	require.NotEmpty(t, chosen, "the class is measured all the same")
	require.NotEqual(t, tried[at+1:], chosen)
}
