package inspect

import (
	"context"
	"errors"
	"fmt"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/usererr"
)

// briefBytes of texts are looked at before a run, which waits for it.
const (
	briefBytes = 64 << 20
	mostLines  = 12
)

var errEnough = errors.New("enough was looked at")

// Briefly says what in the rows is probably a mistake, beside what a dataset.Report says of them, as far as it costs
// little to find: rows are compared whole, and of many only the first are looked at. valid may be nil. Errors are as
// Source's.
func Briefly(ctx context.Context, on chat.TrainOn, data, valid *dataset.Source) ([]string, error) {
	return briefly(ctx, on, data, valid, briefBytes)
}

// briefly looks at so many bytes.
func briefly(ctx context.Context, on chat.TrainOn, data, valid *dataset.Source, left int) (lines []string, err error) {
	i, rows := New(Options{TrainOn: on}), 0
	i.brief = true
	for _, s := range []struct {
		name string
		*dataset.Source
	}{{train, data}, {"valid", valid}} {
		if s.Source == nil {
			continue
		}
		rows += s.Len()
		i.Begin(s.name, s.Source)
		err := s.Each(func(index int, row dataset.Row) error {
			if left -= bytesOf(row); left < 0 {
				return errEnough
			}
			i.Add(i.Look(row, index))
			return ctx.Err()
		})
		if err != nil && err != errEnough {
			return nil, err
		}
	}
	i.twins = i.rows.twins()
	i.compare()
	for _, f := range i.sorted() {
		if f.Level != mistake || f.Kind == kindLeftOut || f.Kind == kindEmptyAnswer { // of which the report tells
			continue
		}
		at := f.Places[0].At
		if of := f.Places[0].Of; of != "" {
			at += ", as " + of
		}
		lines = append(lines, usererr.OneLine(fmt.Sprintf("%s, the first at %s", f.title(), at)))
	}
	if more := len(lines) - mostLines; more > 0 {
		lines = append(lines[:mostLines], fmt.Sprintf("and %s of other kinds, of which data inspect tells", plural(more, "finding")))
	}
	if looked := len(i.rows.exact); looked < rows && len(lines) > 0 {
		lines = append(lines, fmt.Sprintf("so far the first %s of %s; data inspect looks at all", grouped(looked), plural(rows, "row")))
	}
	return lines, nil
}
