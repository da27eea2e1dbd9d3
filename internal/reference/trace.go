package reference

import "slices"

// Activation is a matrix [T, Cols] that a pass computed.
type Activation struct {
	Name   string // "layers.0.q"; "d layers.0.q" is its gradient
	Cols   int
	Values []float64
}

// Trace lists what a pass computes, in its order: the forward pass from the embedded tokens to the logits, then
// gradients from there back. A nil Trace notes nothing.
type Trace struct {
	Activations []Activation
	prefix      string // of the layer
}

func (t *Trace) note(name string, cols int, values []float64) { t.add("", name, cols, values) }

func (t *Trace) noteGradient(name string, cols int, values []float64) {
	t.add("d ", name, cols, values)
}

func (t *Trace) add(kind, name string, cols int, values []float64) {
	if t != nil {
		rows(name, len(values), cols)
		t.Activations = append(t.Activations, Activation{kind + t.prefix + name, cols, slices.Clone(values)})
	}
}

// within makes names begin with prefix.
func (t *Trace) within(prefix string) {
	if t != nil {
		t.prefix = prefix
	}
}
