//go:build !js

package parquet

import (
	"errors"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// node is a column or what it is made of.
type node struct {
	name, path string
	repetition format.FieldRepetitionType
	// how deep values of the node are defined, and at which level of repetition its elements begin
	definition, repeats int
	children            []*node
	leaf                int // index of the node's first leaf among all of them
	leaves              int // how many it has; 1 for a leaf
	element             *format.SchemaElement
}

const maxDepth = 64

var errNoColumns = errors.New("there are none")

// schemaOf makes a tree of the list of all nodes, each behind the one that holds it.
func schemaOf(elements []format.SchemaElement) (root *node, leaves []*node, err error) {
	if len(elements) < 2 || elements[0].Type.Valid {
		return nil, nil, errNoColumns
	}
	var add func(in *node, depth int) (*node, error)
	add = func(in *node, depth int) (*node, error) {
		if len(elements) == 0 {
			return nil, errors.New("their tree has no end")
		}
		if depth > maxDepth {
			return nil, fmt.Errorf("they nest more than %d deep", maxDepth)
		}
		e := &elements[0]
		elements = elements[1:]
		n := &node{name: e.Name, path: e.Name, element: e, leaf: len(leaves)}
		if in != nil {
			n.repetition, n.definition, n.repeats = e.RepetitionType.V, in.definition, in.repeats
			if n.repetition < format.Required || n.repetition > format.Repeated {
				return nil, fmt.Errorf("column %q repeats as nothing does", e.Name)
			}
			if in.path != "" {
				n.path = in.path + "." + e.Name
			}
			if n.repetition != format.Required {
				n.definition++
			}
			if n.repetition == format.Repeated {
				n.repeats++
			}
		} else {
			n.path = ""
		}
		if e.Type.Valid {
			if len(leaves) == maxColumns {
				return nil, fmt.Errorf("there are more than %d", maxColumns)
			}
			n.leaves = 1
			leaves = append(leaves, n)
			return n, nil
		}
		for range e.NumChildren.V {
			child, err := add(n, depth+1)
			if err != nil {
				return nil, err
			}
			n.children = append(n.children, child)
			n.leaves += child.leaves
		}
		if n.leaves == 0 {
			return nil, fmt.Errorf("column %q has nothing in it", n.path)
		}
		return n, nil
	}
	if root, err = add(nil, 0); err != nil {
		return nil, nil, err
	}
	for i, c := range root.children {
		if slices.ContainsFunc(root.children[:i], func(other *node) bool { return other.name == c.name }) {
			return nil, nil, fmt.Errorf("the column %q is there twice", c.name)
		}
	}
	return root, leaves, nil
}

// converted tells what an element was called before there were logical types.
func (n *node) converted(t deprecated.ConvertedType) bool {
	c := n.element.ConvertedType
	return c.Valid && c.V == t
}

// listElement is the node of a list's elements, by the rules of the format's own LogicalTypes.md for lists that older
// programs wrote; nil where the node is no list. itself: the repeated node is the element, not what is in it.
func (n *node) listElement() (repeated *node, itself bool) {
	_, isList := n.element.LogicalType.Value.(*format.ListType)
	if !isList && !n.converted(deprecated.List) || len(n.children) != 1 || n.children[0].repetition != format.Repeated {
		return nil, false
	}
	repeated = n.children[0]
	itself = len(repeated.children) != 1 || repeated.name == "array" || repeated.name == n.name+"_tuple"
	return repeated, itself
}

// mapEntry is the node of a map's entries of key and value; nil where the node is no map.
func (n *node) mapEntry() *node {
	_, isMap := n.element.LogicalType.Value.(*format.MapType)
	if !isMap && !n.converted(deprecated.Map) && !n.converted(deprecated.MapKeyValue) || len(n.children) != 1 {
		return nil
	}
	if e := n.children[0]; e.repetition == format.Repeated && len(e.children) == 2 && len(e.children[0].children) == 0 &&
		e.children[0].repetition == format.Required {
		return e
	}
	return nil
}
