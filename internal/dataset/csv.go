package dataset

import (
	"encoding/csv"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"slices"
)

// readCSV reads comma-separated values whose first record names the columns (RFC 4180).
func (b *builder) readCSV(in io.Reader) error {
	b.source.Container = "CSV"
	bounded := &rowLimiter{in: in, limit: maxRowBytes}
	reader := csv.NewReader(bounded)
	reader.ReuseRecord = true
	var header []string
	for row := 0; ; row++ {
		bounded.limit = reader.InputOffset() + maxRowBytes
		record, err := reader.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			var parse *csv.ParseError
			where := fmt.Sprintf("record %d", row+1)
			if errors.As(err, &parse) {
				where, err = fmt.Sprintf("line %d", parse.Line), parse.Err
			}
			return b.fail(where, err)
		}
		line, _ := reader.FieldPos(0)
		where := fmt.Sprintf("line %d", line)
		if header == nil {
			header = slices.Clone(record)
			for i, name := range header {
				if slices.Contains(header[:i], name) {
					return b.fail(where, fmt.Errorf("the column %q is there twice", name))
				}
			}
			continue
		}
		fields := make(map[string]jsontext.Value, len(header))
		for i, name := range header {
			value, err := jsontext.AppendQuote(nil, record[i])
			if err != nil {
				return b.fail(where, fmt.Errorf("column %q: invalid UTF-8", name))
			}
			fields[name] = value
		}
		if err := b.add(fields, where); err != nil {
			return err
		}
	}
}
