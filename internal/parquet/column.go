//go:build !js

package parquet

import (
	"errors"
	"fmt"
	"io"
)

// value is one of a leaf's values, with its levels.
type value struct {
	repetition, definition uint8
	null                   bool
	bits                   uint64 // of a number or a boolean
	bytes                  []byte // of anything else
}

// column reads the values of one leaf in one row group.
type column struct {
	leaf  *node
	pages *pages
	page  *page
	next  int     // value of the page
	given int     // of the page's values that are not null
	all   []value // of a row
}

var errEnds = errors.New("it has fewer rows than its row group")

// row gives the values of the next row, valid until the one after it.
func (c *column) row() ([]value, error) {
	const most = 4 << 20
	c.all = c.all[:0]
	for {
		begins, err := c.begins()
		switch {
		case err == io.EOF && len(c.all) > 0:
			return c.all, nil
		case err == io.EOF:
			return nil, errEnds
		case err != nil:
			return nil, err
		case begins && len(c.all) > 0:
			return c.all, nil
		case !begins && len(c.all) == 0:
			return nil, errors.New("its first row has no beginning")
		case len(c.all) == most:
			return nil, fmt.Errorf("a row with more than %d values", most)
		}
		c.all = append(c.all, c.take())
		if c.leaf.repeats == 0 {
			return c.all, nil
		}
	}
}

// ended wants nothing to be left behind the last row.
func (c *column) ended(place string) (err error) {
	defer caught(place, &err)
	switch _, err := c.begins(); {
	case err == io.EOF:
		return nil
	case err != nil:
		return at(place, err, c.leaf)
	}
	return at(place, errors.New("it has more rows than its row group"), c.leaf)
}

// begins tells whether the next value begins a row; io.EOF: there is none.
func (c *column) begins() (bool, error) {
	for c.page == nil || c.next == c.page.count {
		page, err := c.pages.next()
		if err != nil {
			return false, err
		}
		c.page, c.next, c.given = page, 0, 0
	}
	return c.page.repetition == nil || c.page.repetition[c.next] == 0, nil
}

// take gives the next value.
func (c *column) take() (v value) {
	p, i := c.page, c.next
	c.next++
	var levels value
	if p.repetition != nil {
		levels.repetition = p.repetition[i]
	}
	if p.definition != nil {
		levels.definition = p.definition[i]
		levels.null = int(levels.definition) < c.leaf.definition
	}
	if levels.null {
		return levels
	}
	v = p.values.at(c.given)
	v.repetition, v.definition = levels.repetition, levels.definition
	c.given++
	return v
}
