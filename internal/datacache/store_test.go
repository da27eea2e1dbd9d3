//go:build !js

package datacache

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/settings"
)

const maxSeqLength = 24

// prepared is a text side of a model and a folder for a cache.
type prepared struct {
	*testing.T
	text *processor.Processor
	dir  string
	said []string
	rows atomic.Int64 // that were encoded
	read atomic.Int64 // looks at the context while files were read
}

func prepare(t *testing.T) *prepared {
	folder := demotest.Model(t, 1, nil)
	model, err := pretrained.Open(folder)
	require.NoError(t, err)
	t.Cleanup(func() { model.Close() })
	text, err := processor.New(model, folder, processor.Options{Now: time.Now()})
	require.NoError(t, err)
	return &prepared{T: t, text: text, dir: filepath.Join(t.TempDir(), "data")}
}

// store is one of its own, as another process has it.
func (p *prepared) store(beyond int) *Store {
	say := func(message string) { p.said = append(p.said, message) }
	s := New(p.Context(), p.dir, beyond, say, say)
	p.Cleanup(s.Close)
	return s
}

func (p *prepared) open(name string, store *Store) *dataset.Source {
	r := dataset.Reading{Held: -1, Known: store, Stop: func() error { p.read.Add(1); return nil }}
	source, _, err := r.Open(name)
	require.NoError(p, err)
	return source
}

func (p *prepared) encoder(store dataset.Store) dataset.Encoder {
	e := p.text.Encoder(chat.TrainOnAssistant, maxSeqLength)
	e.Store, e.Encoded = store, func() { p.rows.Add(1) }
	return e
}

// encode gives the samples of a file by way of the store.
func (p *prepared) encode(name string, store *Store) (dataset.Samples, dataset.Report) {
	p.Helper()
	samples, report, err := p.encoder(store).Encode(p.open(name, store))
	require.NoError(p, err)
	return samples, report
}

// file is one that was written an hour ago.
func file(t *testing.T, name, text string) string {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(t.TempDir(), name)
	}
	require.NoError(t, os.WriteFile(name, []byte(text), 0o666))
	before := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(name, before, before))
	return name
}

// conversations are rows of which some are dropped, cut or of several turns.
func conversations(n int) string {
	var b strings.Builder
	for i := range n {
		switch answer := strings.Repeat(fmt.Sprint(i), 1+i%7); i % 5 {
		case 3:
			fmt.Fprintf(&b, `{"messages":[{"role":"user","content":"%d"}]}`+"\n", i)
		case 4:
			fmt.Fprintf(&b, `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"%s"},{"role":"user","content":"b"},`+
				`{"role":"assistant","content":"%s"}]}`+"\n", answer, answer)
		default:
			fmt.Fprintf(&b, `{"messages":[{"role":"user","content":"%d"},{"role":"assistant","content":"%s"}]}`+"\n", i, answer)
		}
	}
	return b.String()
}

func all(t *testing.T, samples dataset.Samples) (list []dataset.Sample) {
	t.Helper()
	for i := range samples.Len() {
		sample, err := samples.At(i)
		require.NoError(t, err)
		require.Len(t, sample.IDs, samples.Tokens(i))
		list = append(list, sample)
	}
	return list
}

// batches are those of two epochs and a half, from a place on.
func batches(t *testing.T, samples dataset.Samples, o dataset.StreamOptions, from dataset.Cursor) (list []dataset.Batch) {
	t.Helper()
	s := dataset.NewStream(samples, o)
	require.NoError(t, s.Seek(from))
	for range 2*s.BatchesPerEpoch() + s.BatchesPerEpoch()/2 {
		b, err := s.Next()
		require.NoError(t, err)
		list = append(list, b)
	}
	return append(list, dataset.Batch{Sequences: s.MaxTokens(), TargetTokens: s.MeanTokens()})
}

// Whatever the format and the order, samples on disk are those in memory, and the next start neither reads the file nor
// encodes a row.
func TestSamplesOnDiskAreThoseInMemory(t *testing.T) {
	p := prepare(t)
	for name, text := range map[string]string{
		"messages.jsonl": conversations(150), "texts.jsonl": `{"text":"ab"}` + "\n" + `{"text":"` + strings.Repeat("long ", 30) + `"}`,
		"alpaca.json": `[{"instruction":"a","input":"b","output":"c"},{"instruction":"d","output":"e"},{"instruction":"f","output":""}]`,
		"pairs.csv":   "question,answer\na,b\nc,\"d\ne\"\n", "page.txt": strings.Repeat("A line of a page.\n", 40),
	} {
		path := file(t, name, text)
		held, _, err := dataset.Open(path)
		require.NoError(t, err)
		want, wantReport, err := p.encoder(nil).Encode(held)
		require.NoError(t, err)
		for start := range 2 {
			p.rows.Store(0)
			p.read.Store(0)
			store := p.store(0)
			source := p.open(path, store)
			require.Equal(t, []any{held.Len(), held.Format, held.Container, held.Notes, held.Hash},
				[]any{source.Len(), source.Format, source.Container, source.Notes, source.Hash})
			got, report, err := p.encoder(store).Encode(source)
			require.NoError(t, err)
			require.Equal(t, wantReport, report, name)
			require.Equal(t, all(t, want), all(t, got), name)
			require.IsType(t, &samples{}, got)
			require.Equal(t, want.FirstTarget(), got.FirstTarget())
			require.Equal(t, start == 0, p.rows.Load() > 0)
			require.Equal(t, start == 0, p.read.Load() > 0, "%s was read at start %d", name, start)
			for _, o := range []dataset.StreamOptions{
				{BatchSize: 2}, {BatchSize: 3, Shuffle: true, Seed: 7}, {BatchSize: 1, Packing: true},
				{BatchSize: 2, Packing: true, Shuffle: true, Seed: 9},
			} {
				o.MaxSeqLength = maxSeqLength
				for _, from := range []dataset.Cursor{{}, {Epoch: 1, Batch: 1}, {Epoch: 3}} {
					require.Equal(t, batches(t, want, o, from), batches(t, got, o, from), "%s %+v", name, o)
				}
				if want.Len() < 4 {
					continue
				}
				wantTrain, wantHeld, err := dataset.Split(want, 0.3, 5)
				require.NoError(t, err)
				train, held, err := dataset.Split(got, 0.3, 5)
				require.NoError(t, err)
				require.Equal(t, batches(t, wantTrain, o, dataset.Cursor{}), batches(t, train, o, dataset.Cursor{}))
				require.Equal(t, all(t, wantHeld), all(t, held))
			}
		}
	}
}

// What memory can hold is on no disk.
func TestSmallSetsStayInMemory(t *testing.T) {
	p := prepare(t)
	name := file(t, "x.jsonl", conversations(20))
	got, report := p.encode(name, p.store(1<<20))
	require.IsType(t, dataset.InMemory{}, got)
	require.NoFileExists(t, filepath.Join(p.dir, "x"+suffix))
	require.Empty(t, p.kept())
	again, _ := p.encode(name, p.store(report.Tokens))
	require.IsType(t, dataset.InMemory{}, again)
	spilt, _ := p.encode(name, p.store(report.Tokens-1))
	require.IsType(t, &samples{}, spilt)
	require.Equal(t, all(t, got), all(t, spilt))
}

func (p *prepared) kept() []string {
	names, err := filepath.Glob(filepath.Join(p.dir, "*"+suffix))
	require.NoError(p, err)
	return names
}

// Whatever decides the samples makes others of them.
func TestOtherSamplesAreOthers(t *testing.T) {
	p := prepare(t)
	name := file(t, "x.jsonl", conversations(20))
	store := p.store(0)
	p.encode(name, store)
	source := p.open(name, store)
	part, err := source.Slice("1:")
	require.NoError(t, err)
	changed, _, err := dataset.Open(file(t, "y.jsonl", conversations(21)))
	require.NoError(t, err)
	table := file(t, "x.csv", "question,answer\na,b\nc,d\n")
	plain, _, err := dataset.Open(table)
	require.NoError(t, err)
	turned, _, err := dataset.Reading{Columns: settings.Columns{Question: "answer", Answer: "question"}}.Open(table)
	require.NoError(t, err)
	entries := len(p.kept())
	folder := t.TempDir()
	for _, name := range []string{"train-1.jsonl", "train-2.jsonl"} {
		file(t, filepath.Join(folder, name), conversations(5))
	}
	split, _, err := dataset.Open(folder)
	require.NoError(t, err)
	file(t, filepath.Join(folder, "train-3.jsonl"), conversations(5))
	require.NoError(t, os.Remove(filepath.Join(folder, "train-2.jsonl")))
	renamed, _, err := dataset.Open(folder)
	require.NoError(t, err)
	require.Equal(t, split.Hash, renamed.Hash)
	for what, with := range map[string]func(*dataset.Encoder) *dataset.Source{
		"two files":    func(*dataset.Encoder) *dataset.Source { return split },
		"other names":  func(*dataset.Encoder) *dataset.Source { return renamed }, // which places tell
		"rows":         func(*dataset.Encoder) *dataset.Source { return part },
		"a byte":       func(*dataset.Encoder) *dataset.Source { return changed },
		"a table":      func(*dataset.Encoder) *dataset.Source { return plain },
		"columns":      func(*dataset.Encoder) *dataset.Source { return turned },
		"length":       func(e *dataset.Encoder) *dataset.Source { e.MaxSeqLength = 20; return changed },
		"train_on":     func(e *dataset.Encoder) *dataset.Source { e.TrainOn = chat.TrainOnLast; return changed },
		"end of texts": func(e *dataset.Encoder) *dataset.Source { e.EOS = dataset.NoToken; return changed },
		"tokenizer": func(e *dataset.Encoder) *dataset.Source {
			e.Identity = func() ([]byte, error) { return []byte("another"), nil }
			return changed
		},
	} {
		e := p.encoder(store)
		from := with(&e)
		for range 2 {
			_, _, err := e.Encode(from)
			require.NoError(t, err)
		}
		entries++
		require.Len(t, p.kept(), entries, what)
	}
	loose, _, err := p.encoder(store).Encode(dataset.SourceOf("x", []dataset.Row{{Text: "no file"}}))
	require.NoError(t, err)
	require.IsType(t, dataset.InMemory{}, loose, "nothing tells it from others")
	require.Len(t, p.kept(), entries)
}

// Of two processes that want the same, one waits and takes what the other has made.
func TestTwoWriters(t *testing.T) {
	p := prepare(t)
	name := file(t, "x.jsonl", conversations(400))
	want, _ := p.encode(name, p.store(1<<30))
	p.rows.Store(0)
	var group sync.WaitGroup
	got := make([]dataset.Samples, 4)
	for i := range got {
		store := New(t.Context(), p.dir, 0, func(message string) { t.Error(message) }, func(string) {})
		t.Cleanup(store.Close)
		group.Go(func() { got[i], _ = p.encode(name, store) })
	}
	group.Wait()
	for _, one := range got {
		require.IsType(t, &samples{}, one)
		require.Equal(t, all(t, want), all(t, one))
	}
	require.Len(t, p.kept(), 1)
	left, err := filepath.Glob(filepath.Join(p.dir, "*"+temporary))
	require.NoError(t, err)
	require.Empty(t, left)
	require.Less(t, p.rows.Load(), int64(len(got)*400), "those that waited did not encode to the end")

	// A wait ends with the context.
	key := strings.Repeat("k", 64)
	lock := flock.New(filepath.Join(p.dir, key[:40]+lockSuffix))
	require.NoError(t, lock.Lock())
	ctx, cancel := context.WithCancel(t.Context())
	waiting := New(ctx, p.dir, 0, func(string) {}, func(message string) {
		require.Equal(t, "Another process is preparing the same data set: waiting for it.", message)
		cancel()
	})
	_, _, _, err = waiting.Create(key, 0)
	require.Equal(t, context.Canceled, err)
	require.NoError(t, lock.Unlock())
}

// A disk without room is told of before it is full, with how much is wanted and what helps.
func TestNoRoom(t *testing.T) {
	p := prepare(t)
	_, _, _, err := p.store(0).Create(strings.Repeat("a", 64), 1<<60)
	require.ErrorContains(t, err, "keep samples "+p.dir+": the samples of this data set take about 1152921504.7 GB, ")
	require.ErrorContains(t, err, "B are free (make room there, or name a folder on another disk with --cache-dir)")
	require.Empty(t, p.kept())
	p.dir = filepath.Join(file(t, "no folder", ""), "data")
	_, _, _, err = p.store(0).Create(strings.Repeat("a", 64), 1)
	require.ErrorContains(t, err, "keep samples "+p.dir+": ")
	require.ErrorContains(t, err, "(--cache-dir names another folder)")
}
