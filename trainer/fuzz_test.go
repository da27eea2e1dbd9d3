//go:build !js

package trainer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/settings"
)

// FuzzState attacks state.json: what is taken can be written and gives the same state again.
func FuzzState(f *testing.F) {
	states, err := filepath.Glob("testdata/*/checkpoint-*/state.json")
	require.NoError(f, err)
	require.NotEmpty(f, states)
	for _, name := range states {
		text, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte(`{"version":3}`))
	f.Add([]byte(`{"version":2,"step":1e999,"settings":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseState(text)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		if s.Settings.Check() != nil || s.first != nil {
			return
		}
		require.NotEmpty(t, settings.Identity(s.Settings, ""))
		again, err := json.Marshal(s)
		require.NoError(t, err)
		back, err := parseState(again)
		require.NoError(t, err)
		require.Equal(t, s.Settings, back.Settings)
		require.Equal(t, checkpoint.Identity{"settings": settingsIdentity(s.Settings, "", s)},
			checkpoint.Identity{"settings": settingsIdentity(back.Settings, "", back)})
	})
}
