//go:build !js

package datacache

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/files"
	"qlora-wgpu/internal/settings"
)

// What is damaged or cut is noticed and made again; nothing is trained on it.
func TestDamageIsNoticed(t *testing.T) {
	p := prepare(t)
	name := file(t, "x.jsonl", conversations(60))
	got, report := p.encode(name, p.store(0))
	want := all(t, got)
	path := p.kept()[0]
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	records := headerBytes + tokenBytes*report.Tokens
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 1; return b }
	}
	for what, damage := range map[string]func([]byte) []byte{
		"magic": flip(0), "version": flip(9), "key": flip(20), "tokens": flip(50), "checksum": flip(92), "padding": flip(2000),
		"a record": flip(records + 3), "a later record": flip(records + recordBytes*7 + 20), "the report": flip(len(whole) - 5),
		"cut":    func(b []byte) []byte { return b[:len(b)-1] },
		"half":   func(b []byte) []byte { return b[:len(b)/2] },
		"header": func(b []byte) []byte { return b[:100] },
		"empty":  func([]byte) []byte { return nil },
		"longer": func(b []byte) []byte { return append(b, 0) },
	} {
		require.NoError(t, os.WriteFile(path, damage(append([]byte{}, whole...)), 0o666))
		p.rows.Store(0)
		p.said = nil
		again, same := p.encode(name, p.store(0))
		require.Equal(t, report, same)
		require.Equal(t, want, all(t, again), what)
		require.Positive(t, p.rows.Load(), what)
		require.Contains(t, p.said[0], "The samples in "+path+" are not used: damaged: ", what)
		healed, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, whole, healed, "the same set gives the same bytes")
	}

	// Tokens are too many to be read at each start: the sample says it.
	require.NoError(t, os.WriteFile(path, flip(headerBytes+tokenBytes*(len(want[0].IDs)+1))(append([]byte{}, whole...)), 0o666))
	p.rows.Store(0)
	touched, _ := p.encode(name, p.store(0))
	require.Zero(t, p.rows.Load())
	first, err := touched.At(0)
	require.NoError(t, err)
	require.Equal(t, want[0], first)
	s := dataset.NewStream(touched, dataset.StreamOptions{BatchSize: 2, MaxSeqLength: maxSeqLength})
	_, err = s.Next()
	require.ErrorContains(t, err, "read samples "+path+": sample 1: its bytes have changed on the disk; the file is removed")
	require.ErrorContains(t, err, "(go on with --resume, or start again)")
	require.Equal(t, dataset.Cursor{}, s.Cursor(), "the batch did not happen")
	again, _ := p.encode(name, p.store(0))
	require.Equal(t, want, all(t, again))
	require.Positive(t, p.rows.Load())
}

// A process that dies while it writes leaves what nobody reads, and what goes with the next one.
func TestAKilledWriter(t *testing.T) {
	p := prepare(t)
	name := file(t, "x.jsonl", conversations(60))
	e := p.encoder(p.store(0))
	half, _, _, err := e.Store.Create(strings.Repeat("a", 64), 100)
	require.NoError(t, err)
	require.NoError(t, half.Add(dataset.Sample{IDs: []uint32{1, 2}, Labels: []int32{notTarget, 2}}))
	left := func() []string {
		names, err := filepath.Glob(filepath.Join(p.dir, "*"+temporary))
		require.NoError(t, err)
		return names
	}
	require.Len(t, left(), 2)
	p.encode(name, p.store(0))
	require.Len(t, left(), 2, "their writer lives")
	k := half.(*keeping)
	require.NoError(t, k.lock.Unlock()) // as the system does for the dead
	_, _, err = p.store(0).Find(k.key)
	require.NoError(t, err)
	found, _, err := p.store(0).Find(k.key)
	require.NoError(t, err)
	require.Nil(t, found)
	p.encode(file(t, name, conversations(61)), p.store(0))
	require.Empty(t, left())

	// What ends with an error leaves nothing.
	store := p.store(0)
	stopped := p.encoder(store)
	stopped.Vocabulary = 1
	_, _, err = stopped.Encode(p.open(name, store))
	require.ErrorContains(t, err, "the model's vocabulary has 1")
	require.Empty(t, left())
}

// A file is known as long as it is the same one, and read in the same way.
func TestKnownFiles(t *testing.T) {
	p := prepare(t)
	name := file(t, "x.csv", "question,answer\na,b\nc,d\n")
	info := func() os.FileInfo {
		info, err := os.Stat(name)
		require.NoError(t, err)
		return info
	}
	facts := dataset.Facts{Format: "question/answer", Container: "CSV", Hash: strings.Repeat("0", 64), Rows: 2, Notes: []string{"a"}}
	turned := settings.Columns{Question: "answer", Answer: "question"}
	p.store(0).Remember(name, info(), settings.Columns{}, facts)
	require.Equal(t, &facts, p.store(0).Recall(name, info(), settings.Columns{}))
	require.Nil(t, p.store(0).Recall(name, info(), turned))
	p.store(0).Remember(name, info(), turned, facts)
	require.NotNil(t, p.store(0).Recall(name, info(), turned))
	require.NotNil(t, p.store(0).Recall(name, info(), settings.Columns{}))

	now := time.Now().Add(-time.Minute)
	require.NoError(t, os.Chtimes(name, now, now))
	require.Nil(t, p.store(0).Recall(name, info(), settings.Columns{}), "touched")
	p.store(0).Remember(name, info(), settings.Columns{}, facts)
	old := info()
	require.NoError(t, os.Rename(name, name+".old"))
	file(t, name, "question,answer\na,b\nc,e\n")
	require.NoError(t, os.Chtimes(name, now, now))
	require.Equal(t, old.Size(), info().Size())
	if files.Number(old) != 0 {
		require.Nil(t, p.store(0).Recall(name, info(), settings.Columns{}), "replaced by one of the same size and time")
	}
	require.NotNil(t, p.store(0).Recall(name, old, settings.Columns{}))

	require.NoError(t, os.Chtimes(name, time.Now(), time.Now()))
	p.store(0).Remember(name, info(), settings.Columns{}, facts)
	require.Nil(t, p.store(0).Recall(name, info(), settings.Columns{}), "it may still be written")
	for _, text := range []string{"{", "null", `{"facts":{"rows":-1}}`, `{"path":"` + name + `"}`} {
		records, err := filepath.Glob(filepath.Join(p.dir, knownFolder, "*.json"))
		require.NoError(t, err)
		require.Len(t, records, 2, "one for each way of reading")
		for _, record := range records {
			require.NoError(t, os.WriteFile(record, []byte(text), 0o666))
		}
		require.Nil(t, p.store(0).Recall(name, old, settings.Columns{}), text)
	}
}
