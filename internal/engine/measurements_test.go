//go:build !js

package engine

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/kernels"
)

// notes is a cache in memory that keeps every version of what is saved.
type notes struct {
	versions []measurements
	fails    bool
}

func (n *notes) Load(string) ([]byte, error) {
	if len(n.versions) == 0 {
		return nil, os.ErrNotExist
	}
	return json.Marshal(n.versions[len(n.versions)-1])
}

func (n *notes) Save(_ string, data []byte) error {
	if n.fails {
		return errors.New("the disk is full")
	}
	var m measurements
	err := json.Unmarshal(data, &m)
	n.versions = append(n.versions, m)
	return err
}

// A process that died while a candidate was measured says something against it when a restart sees it, and else at the
// second time.
func TestAutotuneLeavesOutWhatKills(t *testing.T) {
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	require.NoError(t, err)
	defer dev.Release()
	cache := &notes{}
	var warnings []string
	start := func(scale float64) *Session {
		s := &Session{Device: dev, options: Options{Cache: cache, SubmitScale: scale}, emit: func(e events.Event) {
			if _, ok := e.(events.Warning); ok {
				warnings = append(warnings, e.String())
			}
		}}
		s.recall()
		return s
	}
	const op, class = "matmul_nf4_backward", "T128 N64 K64"
	together := op + " " + class + " compiled together"
	left := op + " " + class + " uniform_32x2"
	var candidates []string
	for _, name := range kernels.VariantsOn(dev, op) {
		if c := op + " " + class + " " + name; c != left {
			candidates = append(candidates, c)
		}
	}
	dies := func(s *Session, candidate string) { s.trying(candidate) } // and nothing is noted any more

	s := start(0)
	dies(s, together)
	s = start(0)
	require.Empty(t, s.measured.rejected(), "it may have been chance")
	require.Empty(t, warnings)
	dies(s, together)
	s = start(0)
	require.Equal(t, []string{together}, s.measured.rejected())
	require.Len(t, warnings, 1)
	for _, c := range candidates {
		dies(s, c)
		s = start(0.5)
		require.Contains(t, s.measured.rejected(), c)
	}

	before := len(cache.versions)
	dev.Variants.Choose(op, class, "registers_16x1")
	require.NoError(t, s.tune(t.Context()))
	require.Equal(t, left, op+" "+class+" "+dev.Variants.Choose(op, class, ""),
		"the others are left out, or nobody measures them on such a device")
	var tried []string
	for _, m := range cache.versions[before:] {
		tried = append(tried, m.Trying)
	}
	require.Equal(t, []string{left, "", ""}, tried, "noted before it runs, and that all is well")

	dev.Variants.Choose(op, "T128 N64 K128", "registers_16x1")
	before = len(cache.versions)
	require.NoError(t, s.tune(t.Context()))
	require.Equal(t, op+" T128 N64 K128 compiled together", cache.versions[before].Trying)

	for autotune, want := range map[string]string{"off": "the rule's", "on": "uniform_32x2"} {
		require.NoError(t, json.Unmarshal([]byte("{}"), dev.Variants))
		(&Session{Device: dev, options: Options{Cache: cache, Autotune: autotune}}).recall()
		require.Equal(t, want, dev.Variants.Choose(op, class, "the rule's"), autotune)
	}

	var told []string
	cache.versions[len(cache.versions)-1].Shaders = "of another build"
	s = &Session{Device: dev, options: Options{Cache: cache}, emit: func(e events.Event) { told = append(told, e.String()) }}
	s.recall()
	require.Equal(t, []string{
		"What is cached about this device is of another driver or version of this program: it is checked and measured again.",
	}, told)
	require.False(t, s.measured.SelfCheck)
	require.Empty(t, s.measured.rejected())

	cache.fails = true
	told = nil
	s.trying(left)
	s.trying("")
	require.Len(t, told, 1, "a cache that cannot be written is told of once")
	require.True(t, strings.HasSuffix(told[0], "the disk is full"), told[0])
}
