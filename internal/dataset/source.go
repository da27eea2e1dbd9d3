package dataset

import (
	"errors"
	"maps"
	"strconv"
	"strings"

	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// Source is a data set as it was read, in the order of the file.
type Source struct {
	Path      string
	Format    string   // "Alpaca", "messages", "ShareGPT", "text", or the names of its columns: "question/answer"
	Container string   // "JSON Lines", "JSON array", "CSV", "CSV with semicolons", "TSV", "Parquet" or "text file"
	Notes     []string // what the reader left aside, for the log
	// SHA-256 of the file's bytes in lower-case hex, also after Slice; of several files that of their hashes, a line each
	Hash string

	Repositories []string // of the hub that it came from, "owner/name"

	columns settings.Columns // as they were named
	rows    []Row            // all of them, unless again is set
	again   func(do func(Row) error) error
	first   int      // of the rows that again gives, the first that counts
	count   int      // of those that count
	parts   []part   // nil: no row has a weight
	files   []string // names with which places begin, of several files; nil: of one
}

// SourceOf is a data set of rows that are in memory.
func SourceOf(path string, rows []Row) *Source { return &Source{Path: path, rows: rows} }

// Len is the number of rows.
func (s *Source) Len() int {
	if s.again != nil {
		return s.count
	}
	return len(s.rows)
}

// Each gives the rows in their order, index from 0, up to the first error, which it returns. A file that is too large
// for its rows to be held is read once more; that it has changed since is an error.
func (s *Source) Each(do func(index int, row Row) error) error {
	if s.again == nil {
		for i, row := range s.rows {
			if err := do(i, row); err != nil {
				return err
			}
		}
		return nil
	}
	at, behind := -s.first, errors.New("the last row has been")
	err := s.again(func(row Row) error {
		at++
		switch {
		case at <= 0:
			return nil
		case at > s.count:
			return behind
		}
		return do(at-1, row)
	})
	if err == behind {
		return nil
	}
	return err
}

var errEnough = errors.New("no more rows are wanted")

// Some gives the rows of these indices; those that the data set does not have are left out.
func (s *Source) Some(indices ...int) (map[int]Row, error) {
	found, wanted := map[int]Row{}, map[int]bool{}
	for _, i := range indices {
		wanted[i] = i >= 0 && i < s.Len()
	}
	maps.DeleteFunc(wanted, func(_ int, there bool) bool { return !there })
	err := s.Each(func(i int, row Row) error {
		if len(found) == len(wanted) {
			return errEnough
		}
		if wanted[i] {
			found[i] = row
		}
		return nil
	})
	if err == errEnough {
		err = nil
	}
	return found, err
}

// Slice keeps the rows "from:to" (from counted from 0, to exclusive). Either side may be left out, and a negative one
// counts from the end, as in "900:960", ":100" and "-60:". A range that leaves the data set or is empty is an error.
func (s *Source) Slice(spec string) (*Source, error) {
	n := s.Len()
	fail := func(reason string) (*Source, error) {
		return nil, usererr.New("select rows", s.Path, "rows %q: %s; the data set has %d rows", spec, reason, n).
			Hinted(`write it like "0:32", ":100" or "-60:"`)
	}
	left, right, found := strings.Cut(strings.TrimSpace(spec), ":")
	if !found {
		return fail("no colon")
	}
	bound := func(text string, missing int) (int, bool) {
		if text == "" {
			return missing, true
		}
		value, err := strconv.Atoi(text)
		if err != nil {
			return 0, false
		}
		if value < 0 {
			value += n
		}
		return value, true
	}
	from, fromOK := bound(left, 0)
	to, toOK := bound(right, n)
	switch {
	case !fromOK || !toOK:
		return fail("not two whole numbers")
	case from < 0 || to < 0 || from > n || to > n:
		return fail("outside of the data set")
	case from >= to:
		return fail("an empty range")
	}
	cut := *s
	cut.parts = cutParts(s.parts, from, to)
	if cut.first, cut.count = s.first+from, to-from; s.again == nil {
		cut.rows = s.rows[from:to:to]
	}
	return &cut, nil
}
