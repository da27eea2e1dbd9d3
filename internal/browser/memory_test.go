package browser

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/checkpoint"
)

func TestMemoryIsAStore(t *testing.T) {
	m := NewMemory()
	_, err := m.Create("runs/one/data")
	require.ErrorIs(t, err, fs.ErrNotExist, "its folder is not there")
	require.NoError(t, m.MakeDir("runs/one"))
	require.NoError(t, checkpoint.WriteBytes(m, "runs/one/data", []byte("abc")))
	w, err := m.Append("runs/one/data")
	require.NoError(t, err)
	_, err = w.Write([]byte("def"))
	require.NoError(t, err)
	data, err := checkpoint.ReadBytes(m, "runs/one/data", 100)
	require.NoError(t, err)
	require.Equal(t, "abcdef", string(data))

	names, err := m.List("runs")
	require.NoError(t, err)
	require.Equal(t, []string{"one"}, names)
	require.NoError(t, m.Rename("runs/one", "runs/two"))
	_, err = m.Open("runs/one/data")
	require.ErrorIs(t, err, fs.ErrNotExist)
	names, err = m.List("runs/two")
	require.NoError(t, err)
	require.Equal(t, []string{"data"}, names)
	require.ErrorIs(t, m.Rename("runs/one", "runs/three"), fs.ErrNotExist)

	require.NoError(t, m.Remove("runs/two"))
	require.NoError(t, m.Remove("runs/two"), "what is not there is removed")
	names, err = m.List("runs")
	require.NoError(t, err)
	require.Empty(t, names)
}
