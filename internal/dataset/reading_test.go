//go:build !js

package dataset

import (
	"bytes"
	"compress/gzip"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/settings"
)

// rowsOfAll are all rows of a source.
func rowsOfAll(t *testing.T, s *Source) (rows []Row) {
	t.Helper()
	require.NoError(t, s.Each(func(i int, row Row) error {
		require.Equal(t, len(rows), i)
		rows = append(rows, row)
		return nil
	}))
	return rows
}

// A file whose rows are not held gives the same ones, whatever its format, as often as it is asked.
func TestRowsAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("testdata", "messages.jsonl"))
	require.NoError(t, err)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err = w.Write(text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	for name, content := range map[string][]byte{
		"a.jsonl.gz": packed.Bytes(), "b.txt": []byte("One.\r\n\r\nTwo."), "c.tsv": []byte("frage\tantwort\nwo?\tda\nwann?\tjetzt\n"),
		"d.jsonl": []byte(`{"messages":null}` + "\n" + `{"messages":[{"role":"user","content":"a"}]}`),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o666))
	}
	columns := settings.Columns{Question: "frage", Answer: "antwort"}
	for name, columns := range map[string]settings.Columns{
		"testdata/messages.jsonl": {}, "testdata/alpaca.csv": {}, "testdata/sharegpt.json": {}, "testdata/alpaca.csv.bz2": {},
		"testdata/parquet/pages.parquet": {}, "testdata/parquet/messages.jsonl": {},
		dir + "/a.jsonl.gz": {}, dir + "/b.txt": {}, dir + "/c.tsv": columns, dir + "/d.jsonl": {},
	} {
		held, _, err := Reading{Columns: columns}.Open(name)
		require.NoError(t, err, name)
		require.Nil(t, held.again, name)
		read, _, err := Reading{Columns: columns, Held: -1}.Open(name)
		require.NoError(t, err, name)
		require.NotNil(t, read.again, name)
		require.Equal(t, []any{held.Len(), held.Format, held.Container, held.Notes, held.Hash},
			[]any{read.Len(), read.Format, read.Container, read.Notes, read.Hash}, name)
		for range 2 {
			require.Equal(t, held.rows, rowsOfAll(t, read), name)
		}
		pairs, are := held.Pairs()
		same, alike := read.Pairs()
		require.Equal(t, are, alike)
		require.Equal(t, pairs, same)
		for _, spec := range []string{":1", "-1:", "1:3", "2:-1"} {
			part, err := held.Slice(spec)
			if err != nil {
				_, again := read.Slice(spec)
				require.EqualError(t, again, err.Error())
				continue
			}
			other, err := read.Slice(spec)
			require.NoError(t, err)
			require.Equal(t, part.rows, rowsOfAll(t, other), "%s %s", name, spec)
			last, err := other.Some(other.Len()-1, other.Len())
			require.NoError(t, err)
			require.Equal(t, map[int]Row{part.Len() - 1: part.rows[part.Len()-1]}, last)
			again, err := other.Slice("0:1") // a part of a part
			require.NoError(t, err)
			require.Equal(t, part.rows[:1], rowsOfAll(t, again))
		}
	}
}

// What changes under a run is told, also where the file's time does not show it.
func TestAFileThatChangesIsTold(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.jsonl")
	write := func(text string, at time.Time) {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o666))
		require.NoError(t, os.Chtimes(name, at, at))
	}
	first := time.Now().Add(-time.Hour)
	for _, c := range []struct {
		text string
		at   time.Time
	}{{`{"text":"b"}`, first}, {`{"text":"a"}`, first.Add(time.Second)}, {`{"text":"a"} `, first}, {"{", first}} {
		write(`{"text":"a"}`, first)
		s, _, err := Reading{Held: -1}.Open(name)
		require.NoError(t, err)
		require.Len(t, rowsOfAll(t, s), 1)
		write(c.text, c.at)
		err = s.Each(func(int, Row) error { return nil })
		if c.text == "{" {
			require.ErrorContains(t, err, "read data set "+name)
			continue
		}
		require.EqualError(t, err, "read data set "+name+": the file has changed since it was first read (start again)")
	}
}

// known remembers in memory.
type known map[string]Facts

func (k known) Recall(path string, _ fs.FileInfo, _ settings.Columns) *Facts {
	if f, there := k[path]; there {
		return &f
	}
	return nil
}

func (k known) Remember(path string, _ fs.FileInfo, _ settings.Columns, f Facts) { k[path] = f }

// A file that is known is not read to be opened; reading can be watched and stopped.
func TestReadingIsWatchedAndStopped(t *testing.T) {
	const name = "testdata/messages.jsonl"
	info, err := os.Stat(name)
	require.NoError(t, err)
	looks, told := 0, int64(0)
	k := known{}
	r := Reading{Held: -1, Known: k, Stop: func() error { looks++; return nil }, Progress: func(path string, done, total int64) {
		require.Equal(t, name, path)
		require.Equal(t, info.Size(), total)
		require.Greater(t, done, told)
		told = done
	}}
	s, _, err := r.Open(name)
	require.NoError(t, err)
	require.Equal(t, info.Size(), told)
	require.Positive(t, looks)
	looks, told = 0, 0
	again, _, err := r.Open(name)
	require.NoError(t, err)
	require.Zero(t, looks, "nothing was read")
	require.Equal(t, rowsOfAll(t, s), rowsOfAll(t, again))
	require.Equal(t, []any{s.Len(), s.Format, s.Container, s.Notes, s.Hash},
		[]any{again.Len(), again.Format, again.Container, again.Notes, again.Hash})
	require.Zero(t, told, "whoever wants the rows counts them")

	held := Reading{Known: known{}, Progress: func(string, int64, int64) { t.Error("a small file is read at once") }}
	_, _, err = held.Open(name)
	require.NoError(t, err)
	require.Empty(t, held.Known)

	stopped := Reading{Stop: func() error { return context.Canceled }}
	_, _, err = stopped.Open(name)
	require.Equal(t, context.Canceled, err)
}
