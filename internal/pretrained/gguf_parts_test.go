package pretrained

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

// inParts is a model as gguf-split leaves it: the metadata in the first part, tensors by twos, with what change makes
// of a part's own keys.
func inParts(t testing.TB, pairs []pair, tensors []matrix, change func(part int, own []pair) []pair) memory {
	count, folder := (len(tensors)+1)/2, memory{}
	for i := range count {
		own := []pair{{"split.no", i}, {"split.count", count}, {"split.tensors.count", len(tensors)}}
		if change != nil {
			own = change(i, own)
		}
		if i == 0 {
			own = append(slices.Clone(pairs), own...)
		}
		folder[partOf(i, count)] = ggufFile(t, own, tensors[2*i:min(2*i+2, len(tensors))])
	}
	return folder
}

func partOf(number, count int) string { return fmt.Sprintf("m-%05d-of-%05d.gguf", number+1, count) }

// A split model is what the whole file is, whichever part is given.
func TestPartsOfAGGUF(t *testing.T) {
	pairs, tensors := small()
	tensors = tensors[:5] // without rope factors
	whole, err := openBytes(ggufFile(t, pairs, tensors))
	require.NoError(t, err)
	folder, hash := inParts(t, pairs, tensors, nil), ""
	require.Len(t, folder, 3)
	for _, name := range slices.Sorted(maps.Keys(folder)) {
		m, err := openIn(folder, name)
		require.NoError(t, err, name)
		require.Equal(t, whole.Spec, m.Spec)
		require.Equal(t, whole.Tokens, m.Tokens)
		require.Equal(t, whole.Tokenizer(), m.Tokenizer())
		require.Equal(t, whole.Tensors(), m.Tensors())
		require.Equal(t, slices.Sorted(maps.Keys(folder)), m.Files())
		for _, tensor := range whole.Tensors() {
			want, got := make([]float32, tensor.Rows*tensor.Cols), make([]float32, tensor.Rows*tensor.Cols)
			require.NoError(t, whole.ReadRows(tensor.Name, 0, tensor.Rows, want))
			require.NoError(t, m.ReadRows(tensor.Name, 0, tensor.Rows, got))
			require.Equal(t, want, got, tensor.Name)
		}
		require.Contains(t, []string{"", hash}, hash)
		if hash != "" {
			require.Equal(t, hash, m.ContentHash(), "a run goes on with any part")
		}
		hash = m.ContentHash()
		require.Len(t, m.closers, 3)
		require.NoError(t, m.Close())
	}
	// One part is a whole model, and so is what gguf-split merged, which says of how many parts: none.
	for _, count := range []int{0, 1} {
		_, err := openBytes(ggufFile(t, append(pairs, pair{"split.no", 0}, pair{"split.count", count}), tensors))
		require.NoError(t, err)
	}
	// So is one that lies on disk, behind links of a cache.
	dir, blobs := t.TempDir(), t.TempDir()
	for name, data := range folder {
		blob := filepath.Join(blobs, "blob"+name[3:7])
		require.NoError(t, os.WriteFile(blob, data, 0o600))
		if err := os.Symlink(blob, filepath.Join(dir, name)); err != nil {
			t.Skip("no links here: ", err)
		}
	}
	m, err := Open(filepath.Join(dir, partOf(1, 3)))
	require.NoError(t, err)
	require.Equal(t, hash, m.ContentHash())
	require.NoError(t, m.Close())
}

// What keeps parts from being a model is said of the part that it lies at.
func TestPartsThatAreNoModel(t *testing.T) {
	pairs, tensors := small()
	tensors = tensors[:5]
	own := func(at int, key string, value any) func(int, []pair) []pair {
		return func(part int, own []pair) []pair {
			if part == at {
				own[slices.IndexFunc(own, func(p pair) bool { return p.key == key })].value = value
			}
			return own
		}
	}
	good := inParts(t, pairs, tensors, nil)
	without := func(names ...string) memory {
		some := maps.Clone(good)
		for _, name := range names {
			delete(some, name)
		}
		return some
	}
	renamed := without(partOf(0, 3))
	renamed["first.gguf"] = good[partOf(0, 3)]
	swapped := maps.Clone(good)
	swapped[partOf(1, 3)], swapped[partOf(2, 3)] = good[partOf(2, 3)], good[partOf(1, 3)]
	cut := maps.Clone(good)
	cut[partOf(2, 3)] = cut[partOf(2, 3)][:len(cut[partOf(2, 3)])-20]
	twice := slices.Clone(tensors)
	twice[4].name = tensors[0].name
	for name, c := range map[string]struct {
		folder        memory
		open, message string
	}{
		"one missing": {without(partOf(1, 3)), partOf(2, 3), "m-00003-of-00003.gguf: the file is part 3 of 3, and beside it there is no " +
			"m-00002-of-00003.gguf (fetch all parts into one folder; in a browser choose all of them at once)"},
		"two missing": {without(partOf(0, 3), partOf(2, 3)), partOf(1, 3), "there is no m-00001-of-00003.gguf, m-00003-of-00003.gguf ("},
		"another name": {renamed, "first.gguf", "first.gguf: the file is part 1 of 3 of a split model, its name does not end in " +
			"-00001-of-00003.gguf (name the parts so"},
		"another place": {
			swapped, partOf(0, 3),
			"m-00002-of-00003.gguf: offset 44: bad format: split.no says part 3 of 3, where part 2 of 3 was wanted (",
		},
		"its own place":   {swapped, partOf(1, 3), "m-00002-of-00003.gguf: the file is part 3 of 3 of a split model, its name does not end in"},
		"cut":             {cut, partOf(0, 3), "m-00003-of-00003.gguf: offset 160: bad format: tensor"},
		"cut, with a way": {cut, partOf(2, 3), "(fetch this part again; if the parts are pieces of a file that was cut anywhere, join"},
		"tensors": {
			inParts(t, pairs, tensors, own(1, "split.tensors.count", 6)), partOf(0, 3),
			"m-00002-of-00003.gguf: offset 106: bad format: split.tensors.count is 6, the parts have 5 tensors (the parts are of different",
		},
		"a count that differs": {inParts(t, pairs, tensors, own(2, "split.count", 4)), partOf(0, 3), "part 3 of 4, where part 3 of 3 was wanted"},
		"a number beyond":      {inParts(t, pairs, tensors, own(0, "split.no", 3)), partOf(0, 3), "bad format: split.no is 3 of 3 ("},
		"parts without end":    {inParts(t, pairs, tensors, own(0, "split.count", 1<<30)), partOf(0, 3), "split.count is 1073741824, 0 to 65535"},
		"a tensor twice": {
			inParts(t, pairs, twice, nil), partOf(0, 3),
			`m-00003-of-00003.gguf: offset 160: bad format: tensor "token_embd.weight" is in m-00001-of-00003.gguf too`,
		},
	} {
		_, err := openIn(c.folder, c.open)
		require.ErrorContains(t, err, c.message, name)
		require.IsType(t, &usererr.Error{}, err, name)
	}
	// Pieces of a file that was cut anywhere are none of that.
	whole := ggufFile(t, pairs, tensors)
	for _, name := range []string{"m.gguf-split-b", "m.gguf.part2of2", "m.Q8_0.gguf-part-b"} {
		_, err := openIn(memory{name: whole[:len(whole)-40]}, name)
		require.ErrorContains(t, err, "(its name is that of a piece: join all pieces into one file first)", name)
	}
	_, err := openIn(memory{"whole.gguf": whole[:len(whole)-40]}, "whole.gguf")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "piece")
}

// What the page takes as one model.
func TestNamesOfOneModel(t *testing.T) {
	require.True(t, SameModel(partOf(0, 3), partOf(2, 3)))
	for _, other := range []string{"m.gguf", "n-00002-of-00003.gguf", "m-00002-of-00004.gguf"} {
		require.False(t, SameModel(partOf(0, 3), other), other)
		require.False(t, SameModel(other, partOf(0, 3)), other)
	}
}
