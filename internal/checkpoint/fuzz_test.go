package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

// FuzzOpen attacks manifest.json, as it stands or with the sums that fit it, and the two files that it lists. What
// opens is, to the byte, what the manifest says.
func FuzzOpen(f *testing.F) {
	m := newMemory()
	require.NoError(f, save(m, 3, "a"))
	f.Add(m.find("out/checkpoint-3/"+manifestName).data, []byte(`{"Step":3,"Mark":"a"}`), []byte("x"), false)
	small := manifest{Format: formatName, Version: 1, Step: 3, Identity: run, Files: []entry{{Name: stateName}, {Name: "optimizer.bin"}}}
	f.Add(small.encode(), []byte(`{"Step":3,"Mark":"a"}`), []byte("x"), true)
	f.Add([]byte(`{"format":"qlora-wgpu checkpoint","version":1,"step":3,"identity":null,"files":[{"name":"state.json"},{"name":"../x"}]}`),
		[]byte(`{}`), []byte(nil), true)
	f.Add([]byte(`{"format":"qlora-wgpu checkpoint","version":2,"files":{}}`), []byte(`null null`), []byte{0}, true)
	f.Fuzz(func(t *testing.T, text, state, optimizer []byte, sign bool) {
		if sign {
			text = signed(text, map[string][]byte{stateName: state, "optimizer.bin": optimizer})
		}
		m := newMemory()
		require.NoError(t, m.MakeDir("out/checkpoint-3"))
		for name, content := range map[string][]byte{manifestName: text, stateName: state, "optimizer.bin": optimizer} {
			require.NoError(t, WriteBytes(m, "out/checkpoint-3/"+name, content))
		}
		c, err := Open(m, "out/checkpoint-3")
		latest, notes, latestErr := Latest(m, "out")
		require.NoError(t, latestErr)
		if err != nil {
			require.IsType(t, &usererr.Error{}, err)
			require.Nil(t, latest)
			require.Len(t, notes, 1)
			return
		}
		require.Equal(t, c, latest)
		for _, file := range c.manifest.Files {
			r, err := c.Open(file.Name)
			require.NoError(t, err)
			content, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
			require.NoError(t, err)
			require.Equal(t, file.SHA256, hex.EncodeToString(sum(content)))
		}
		var s runState
		if err := c.State(&s); err != nil {
			require.IsType(t, &usererr.Error{}, err)
		}
	})
}

func sum(content []byte) []byte {
	s := sha256.Sum256(content)
	return s[:]
}

// signed is the manifest with sizes and sums that fit; what is no manifest stays as it is.
func signed(text []byte, files map[string][]byte) []byte {
	var m manifest
	if json.NewDecoder(bytes.NewReader(text)).Decode(&m) != nil {
		return text
	}
	for i, file := range m.Files {
		if content, ok := files[file.Name]; ok {
			m.Files[i] = entry{file.Name, int64(len(content)), hex.EncodeToString(sum(content))}
		}
	}
	return m.encode()
}
