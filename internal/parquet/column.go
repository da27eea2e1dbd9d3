//go:build !js

package parquet

import (
	"errors"
	"fmt"
	"io"

	library "github.com/parquet-go/parquet-go"
)

// column reads the values of one leaf in one row group, a page at a time.
type column struct {
	leaf   *node
	stream *pageStream
	pages  *library.FilePages
	values library.ValueReader // of the page; nil: the next one is to be read

	ahead      [64]library.Value // values that were read
	next, read int               // of them the next one, and how many there are
	all        []library.Value   // of a row
}

var errEnds = errors.New("it has fewer rows than its row group")

// row gives the values of the next row, valid until the one after it.
func (c *column) row() ([]library.Value, error) {
	const most = 4 << 20
	c.all = c.all[:0]
	for {
		for c.next == c.read {
			switch err := c.fill(); {
			case err == io.EOF && len(c.all) > 0:
				return c.all, nil
			case err == io.EOF:
				return nil, errEnds
			case err != nil:
				return nil, err
			}
		}
		v := c.ahead[c.next]
		switch begins := v.RepetitionLevel() == 0; {
		case begins && len(c.all) > 0:
			return c.all, nil
		case !begins && len(c.all) == 0:
			return nil, errors.New("its first row has no beginning")
		case len(c.all) == most:
			return nil, fmt.Errorf("a row with more than %d values", most)
		}
		c.next++
		if c.all = append(c.all, v); c.leaf.repeats == 0 {
			return c.all, nil
		}
	}
}

// ended wants nothing to be left behind the last row.
func (c *column) ended(place string) (err error) {
	defer caught(place, &err)
	for c.next == c.read {
		switch err := c.fill(); {
		case err == io.EOF:
			return nil
		case err != nil:
			return at(place, err, c.leaf)
		}
	}
	return at(place, errors.New("it has more rows than its row group"), c.leaf)
}

// fill reads more values; io.EOF: there are none.
func (c *column) fill() error {
	if c.values == nil {
		page, err := c.pages.ReadPage()
		if c.stream.err != nil && c.stream.err != io.EOF {
			return c.stream.err // in its own words
		} else if err != nil {
			return err
		}
		c.values = page.Values()
	}
	n, err := c.values.ReadValues(c.ahead[:])
	c.next, c.read = 0, n
	if err != nil || n == 0 {
		c.values = nil
	}
	if err != io.EOF {
		return err
	}
	return nil
}
