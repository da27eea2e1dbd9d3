//go:build !js

package parquet

import (
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go/format"
)

// builder makes JSON of a row's values, by the levels that each has (the Dremel paper's): where in the tree it is null,
// and which list it goes on with.
type builder struct {
	most   int
	values [][]value // by leaf
	out    []byte
	cells  []jsontext.Value
}

var errDamaged = errors.New("the columns of a row do not fit together")

// row gives the values of the root's columns.
func (b *builder) row(root *node) ([]jsontext.Value, error) {
	ends := make([]int, len(root.children))
	b.out = b.out[:0]
	for i, c := range root.children {
		if err := b.add(c, b.values[c.leaf:c.leaf+c.leaves]); err != nil {
			return nil, fmt.Errorf("column %q: %w", c.name, err)
		}
		ends[i] = len(b.out)
	}
	b.cells = b.cells[:0]
	for i, from := 0, 0; i < len(ends); i++ {
		b.cells = append(b.cells, b.out[from:ends[i]:ends[i]])
		from = ends[i]
	}
	return b.cells, nil
}

// add adds a node, of which these are the values by leaf.
func (b *builder) add(n *node, values [][]value) error {
	if n.repetition == format.Repeated { // a list of before there were lists
		return b.list(n, values, func(element [][]value) error { return b.one(n, element) })
	}
	return b.one(n, values)
}

// one adds a node that is no list by itself, or an element of one.
func (b *builder) one(n *node, values [][]value) error {
	for _, v := range values {
		if len(v) == 0 {
			return errDamaged
		}
	}
	if n.repetition == format.Optional && int(values[0][0].definition) < n.definition {
		b.out = append(b.out, "null"...)
		return nil
	}
	if n.children == nil {
		return b.leaf(n, values[0])
	}
	if repeated, itself := n.listElement(); repeated != nil {
		return b.list(repeated, values, func(element [][]value) error {
			if itself {
				return b.one(repeated, element)
			}
			return b.add(repeated.children[0], element)
		})
	}
	if entry := n.mapEntry(); entry != nil {
		return b.object(entry, values)
	}
	b.out = append(b.out, '{')
	for i, c := range n.children {
		if i > 0 {
			b.out = append(b.out, ',')
		}
		if err := b.name(c.name); err != nil {
			return err
		}
		from := c.leaf - n.leaf
		if err := b.add(c, values[from:from+c.leaves]); err != nil {
			return err
		}
	}
	b.out = append(b.out, '}')
	return nil
}

func (b *builder) name(name string) (err error) {
	if b.out, err = jsontext.AppendQuote(b.out, name); err != nil {
		return fmt.Errorf("a name: %w", errNoUTF8)
	}
	b.out = append(b.out, ':')
	return nil
}

// list adds the elements of a repeated node.
func (b *builder) list(n *node, values [][]value, add func([][]value) error) error {
	b.out = append(b.out, '[')
	err := b.elements(n, values, func(i int, element [][]value) error {
		if i > 0 {
			b.out = append(b.out, ',')
		}
		return add(element)
	})
	b.out = append(b.out, ']')
	return err
}

// object adds a map from its entries.
func (b *builder) object(entry *node, values [][]value) error {
	b.out = append(b.out, '{')
	key, held := entry.children[0], entry.children[1]
	err := b.elements(entry, values, func(i int, element [][]value) error {
		if i > 0 {
			b.out = append(b.out, ',')
		}
		from := len(b.out)
		if err := b.one(key, element[:1]); err != nil {
			return err
		}
		if name := string(b.out[from:]); name[0] != '"' {
			b.out = append(append(append(b.out[:from], '"'), name...), '"')
		}
		b.out = append(b.out, ':')
		return b.add(held, element[1:])
	})
	b.out = append(b.out, '}')
	return err
}

// elements calls for each element of a repeated node, with the values that belong to it.
func (b *builder) elements(n *node, values [][]value, each func(i int, element [][]value) error) error {
	if len(values[0]) == 0 {
		return errDamaged
	}
	if int(values[0][0].definition) < n.definition {
		return nil
	}
	rest := slices.Clone(values)
	element := make([][]value, len(values))
	for i := 0; len(rest[0]) > 0; i++ {
		for k, v := range rest {
			if len(v) == 0 {
				return errDamaged
			}
			end := 1
			for end < len(v) && int(v[end].repetition) > n.repeats {
				end++
			}
			element[k], rest[k] = v[:end:end], v[end:]
		}
		if err := each(i, element); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(rest, func(v []value) bool { return len(v) > 0 }) {
		return errDamaged
	}
	return nil
}

func (b *builder) leaf(n *node, values []value) (err error) {
	if len(values) != 1 {
		return errDamaged
	}
	if values[0].null {
		return errDamaged
	}
	if b.out, err = n.append(b.out, values[0]); err != nil {
		return err
	}
	if len(b.out) > b.most {
		return fmt.Errorf("a row longer than %d MiB", b.most>>20)
	}
	return nil
}
