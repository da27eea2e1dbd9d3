package inspect

import (
	"context"
	"runtime"

	"golang.org/x/sync/errgroup"

	"qlora-wgpu/internal/dataset"
)

// Source looks at all rows of a split, on all cores. Errors are ctx's and those of reading.
func (i *Inspector) Source(ctx context.Context, name string, source *dataset.Source) error {
	i.Begin(name, source)
	if i.encoder.Template != nil {
		i.encoder.Template = i.encoder.Template.Until(ctx.Err)
	}
	list := make([]dataset.Row, 0, chunkRows)
	first, size := 0, 0
	look := func() error {
		if i.common == nil {
			texts := make([][]uint64, len(list))
			for k, row := range list {
				texts[k] = wordsOf(row)
			}
			i.common = commonOf(texts)
		}
		looks := i.lookAll(ctx, list, first)
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, l := range looks {
			i.Add(l)
		}
		if i.o.Looked != nil {
			i.o.Looked(len(list))
		}
		list, first, size = list[:0], first+len(list), 0
		return nil
	}
	err := source.Each(func(_ int, row dataset.Row) error {
		list = append(list, row)
		if size += bytesOf(row); len(list) < chunkRows && size < chunkBytes {
			return nil
		}
		return look()
	})
	if err != nil {
		return err
	}
	return look()
}

// What is held at a time.
const (
	chunkRows  = 512
	chunkBytes = 8 << 20
)

// bytesOf is about what a row's texts take.
func bytesOf(row dataset.Row) int {
	n := len(row.Text) + len(row.Tools)
	for _, m := range row.Messages {
		n += len(m.Content)
		for _, f := range m.Fields {
			n += len(f.Value)
		}
	}
	return n
}

// lookAll looks at rows on all cores; first is the index of their first.
func (i *Inspector) lookAll(ctx context.Context, list []dataset.Row, first int) []Look {
	looks := make([]Look, len(list))
	var group errgroup.Group
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		group.Go(func() error {
			for k := w; k < len(list) && ctx.Err() == nil; k += workers {
				looks[k] = i.Look(list[k], first+k)
			}
			return nil
		})
	}
	_ = group.Wait() // it has no errors
	return looks
}
