package inspect

import (
	"context"
	"errors"
	"fmt"

	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/usererr"
)

// briefBytes of texts are looked at before a run, which waits for it.
const (
	briefBytes = 64 << 20
	mostLines  = 12
)

var errEnough = errors.New("enough was looked at")

// Brief is what Briefly finds.
type Brief struct {
	Lines  []string `json:"lines"`  // kinds of mistakes, each with the rows and its first place
	Others int      `json:"others"` // findings beyond those
	Looked int      `json:"looked"` // rows that were looked at
	Rows   int      `json:"rows"`   // of all
}

// Text is what there is to say, for the program; nothing where nothing was found.
func (b Brief) Text() []string {
	lines := b.Lines
	if b.Others > 0 {
		lines = append(lines, fmt.Sprintf("and %s of other kinds, of which data inspect tells", plural(b.Others, "finding")))
	}
	if b.Looked < b.Rows && len(lines) > 0 {
		lines = append(lines, fmt.Sprintf("so far the first %s of %s; data inspect looks at all", grouped(b.Looked), plural(b.Rows, "row")))
	}
	return lines
}

// Briefly says what in the rows is probably a mistake, beside what a dataset.Report says of them, as far as it costs
// little to find: rows are compared whole, and of many only the first are looked at. Of o TrainOn and Looked count, the
// latter after each row. valid may be nil. Errors are as Source's.
func Briefly(ctx context.Context, o Options, data, valid *dataset.Source) (Brief, error) {
	return briefly(ctx, o, data, valid, briefBytes)
}

// briefly looks at so many bytes.
func briefly(ctx context.Context, o Options, data, valid *dataset.Source, left int) (Brief, error) {
	i, out := New(Options{TrainOn: o.TrainOn}), Brief{Lines: []string{}}
	i.brief = true
	for _, s := range []struct {
		name string
		*dataset.Source
	}{{train, data}, {"valid", valid}} {
		if s.Source == nil {
			continue
		}
		out.Rows += s.Len()
		i.Begin(s.name, s.Source)
		err := s.Each(func(index int, row dataset.Row) error {
			if left -= bytesOf(row); left < 0 {
				return errEnough
			}
			i.Add(i.Look(row, index))
			if o.Looked != nil {
				o.Looked(1)
			}
			return ctx.Err()
		})
		if err != nil && err != errEnough {
			return Brief{}, err
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
		out.Lines = append(out.Lines, usererr.OneLine(fmt.Sprintf("%s, the first at %s", f.title(), at)))
	}
	if out.Others = max(0, len(out.Lines)-mostLines); out.Others > 0 {
		out.Lines = out.Lines[:mostLines]
	}
	out.Looked = len(i.rows.exact)
	return out, nil
}
