//go:build !js

package host

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"qlora-wgpu/internal/datacache"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/settings"
)

const dataFolder = "data"

// DataSet is an opened data set.
type DataSet struct {
	Train, Valid *dataset.Source // Valid may be nil
	Samples      dataset.Store   // keeps what is made of large ones; nil: the system has no cache folder
	close        func()
}

// Close ends the reading of samples that were kept.
func (d *DataSet) Close() { d.close() }

// OpenData reads a data set, of a large one what is remembered of it below the cache folder; an empty name of that is
// the user's.
func OpenData(ctx context.Context, c settings.Dataset, cacheDir string, emit func(events.Event)) (*DataSet, error) {
	columns, err := DataColumns(c.Reading)
	if err != nil {
		return nil, err
	}
	list, err := c.DataFiles(func(path string) bool { _, err := os.Stat(path); return err == nil })
	if err != nil {
		return nil, err
	}
	d := &DataSet{close: func() {}}
	r := dataset.Reading{Columns: columns, Config: c.DataConfig, Split: c.DataSplit, Stop: ctx.Err, Progress: reading(emit)}
	if dir := CacheFolder(cacheDir); dir != "" {
		warn := func(message string) { emit(events.Warning{Message: message}) }
		info := func(message string) { emit(events.Info{Message: message}) }
		store := datacache.New(ctx, filepath.Join(dir, dataFolder), datacache.DefaultBeyond, warn, info)
		d.Samples, d.close, r.Known = store, store.Close, store
	}
	if d.Train, d.Valid, err = readAll(ctx, r, list, emit); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// readAll reads several data sets as one.
func readAll(ctx context.Context, r dataset.Reading, list []settings.DataFile, emit func(events.Event)) (train, valid *dataset.Source,
	err error) {
	var all, valids []dataset.Weighted
	for _, f := range list {
		one, held, err := openData(ctx, f.Path, r, emit)
		if err != nil {
			return nil, nil, err
		}
		if f.Rows != "" {
			if one, err = one.Slice(f.Rows); err != nil {
				return nil, nil, err
			}
		}
		all = append(all, dataset.Weighted{Source: one, Name: f.Path, Weight: f.Weight, Rows: f.Rows})
		if held != nil {
			valids = append(valids, dataset.Weighted{Source: held, Name: f.Path, Weight: 1})
		}
	}
	if train, err = dataset.Combine(all); err == nil && len(valids) > 0 {
		valid, err = dataset.Combine(valids)
	}
	return train, valid, err
}

// reading tells how far files are, no more often than somebody can read.
func reading(emit func(events.Event)) func(path string, done, total int64) {
	const between = 100 * time.Millisecond
	var began, last time.Time
	var name string
	var first int64
	return func(path string, done, total int64) {
		now := time.Now()
		if path != name {
			name, began, first = path, now, done
		}
		if now.Sub(last) < between && done < total {
			return
		}
		last = now
		rate := float64(done-first) / max(now.Sub(began).Seconds(), 1e-3)
		emit(events.Reading{Part: events.Part{Done: done, Total: total}, Name: filepath.Base(path), Rate: rate})
	}
}
