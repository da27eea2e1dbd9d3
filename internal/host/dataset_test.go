//go:build !js

package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/settings"
)

func TestOpenSeveralDataSets(t *testing.T) {
	dir := t.TempDir()
	at := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o666))
		return path
	}
	const rows = `{"prompt":"1","completion":"a"}` + "\n" + `{"prompt":"2","completion":"a"}` + "\n"
	a, folder := at("a:b.jsonl", rows), filepath.Dir(at("set/train.csv", "prompt,completion\nx,y\n"))
	at("set/dev.csv", "prompt,completion\nv,w\n")
	odd := at("odd.jsonl:2", rows)
	open := func(data string) ([]string, int, error) {
		d, err := OpenData(t.Context(), settings.Dataset{Data: data}, t.TempDir(), func(events.Event) {})
		if err != nil {
			return nil, 0, err
		}
		defer d.Close()
		held := 0
		if d.Valid != nil {
			held = d.Valid.Len()
		}
		return d.Train.Notes, held, nil
	}
	notes, held, err := open(a + ":2:1\n" + folder + ":0.5\n" + odd)
	require.NoError(t, err)
	require.Equal(t, 1, held)
	require.Equal(t, []string{"1 rows of " + a + ", 2 times an epoch", "1 rows of " + folder + ", 0.5 times an epoch", "2 rows of " + odd}, notes)
	_, _, err = open(a + "::5")
	require.ErrorContains(t, err, `rows ":5": outside of the data set; the data set has 2 rows`)
	_, _, err = open(a + "\n" + filepath.Join(dir, "absent.jsonl") + ":2")
	require.ErrorContains(t, err, "absent.jsonl: ")
}
