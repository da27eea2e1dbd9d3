package model

import (
	"slices"

	"qlora-wgpu/gpu"
)

// Cache holds keys and values of the tokens seen so far, those of each layer in the order of their positions. Layers
// without a window have a row for every token that a sequence can have. Those with one have rows for the window and for
// the tokens that pass at once: where these are full, the window's rows move to the beginning, and what lay before them
// is gone. So attention reads neighbouring rows of every layer, by the same kernels.
type Cache struct {
	layers []cachedLayer
	moving *gpu.Tensor // through which rows move, since no copy stays within a buffer; nil: none ever do
	length int
}

type cachedLayer struct {
	k, v   *gpu.Tensor // [rows, KVH·D]
	window int         // 0: none
	first  int         // the position of row 0
}

// NewCache makes a cache for sequences of maxTokens, of which up to atOnce pass at once. A layer's keys that no binding
// holds are a *gpu.TooLarge.
func (m *Model) NewCache(maxTokens, atOnce int) (*Cache, error) {
	c := &Cache{}
	var err error
	add := func(to **gpu.Tensor, rows, cols int) {
		if err == nil {
			*to, err = m.dev.NewWholeTensor("kv cache", gpu.F32, rows, cols)
		}
	}
	moving := 0 // elements
	for _, l := range m.layers {
		a, rows := &l.attention, maxTokens
		if least := a.Window + atOnce; a.Window > 0 && least < maxTokens {
			rows, moving = least, max(moving, a.Window*a.narrow())
		}
		c.layers = append(c.layers, cachedLayer{window: a.Window})
		last := &c.layers[len(c.layers)-1]
		add(&last.k, rows, a.narrow())
		add(&last.v, rows, a.narrow())
	}
	if moving > 0 {
		add(&c.moving, 1, moving)
	}
	if err != nil {
		c.Release()
		return nil, err
	}
	return c, nil
}

// Release frees the cache.
func (c *Cache) Release() {
	all := []*gpu.Tensor{c.moving}
	for _, l := range c.layers {
		all = append(all, l.k, l.v)
	}
	for _, t := range all {
		if t != nil {
			t.Release()
		}
	}
}

// Length is how many tokens passed.
func (c *Cache) Length() int { return c.length }

// Reaches tells whether a list can go on from the first n of the tokens that passed: whether every layer still has what
// the token behind them sees.
func (c *Cache) Reaches(n int) bool {
	gone := func(l cachedLayer) bool { return l.first > max(0, n+1-l.window) }
	return n == 0 || n <= c.length && !slices.ContainsFunc(c.layers, gone)
}

// Rewind forgets all but the first n tokens, which it has to reach.
func (c *Cache) Rewind(n int) {
	if !c.Reaches(n) {
		panic("model: a cache goes back to tokens that it does not hold")
	}
	c.length = n
	for i := range c.layers {
		c.layers[i].first = min(c.layers[i].first, n) // nothing is left out of nothing
	}
}

// begin makes room for the pass's tokens. A dry recording leaves the cache as it is.
func (c *Cache) begin(p *Pass) *Cache {
	if p.Rec.Dry() {
		dry := *c
		dry.layers = slices.Clone(c.layers)
		c = &dry
	}
	for i := range c.layers {
		l := &c.layers[i]
		if rows := c.length - l.first; rows+p.Tokens > l.k.Rows {
			for _, t := range []*gpu.Tensor{l.k, l.v} {
				kept := c.moving.View(l.window, t.Cols)
				copyRows(p.Rec, kept, 0, t, rows-l.window, l.window)
				copyRows(p.Rec, t, 0, kept, 0, l.window)
			}
			l.first = c.length - l.window
		}
	}
	return c
}

// rows is how many of the tokens before the pass a layer holds.
func (c *Cache) rows(layer int) int { return c.length - c.layers[layer].first }

// append adds the pass's keys and values [T, KVH·D] to a layer's, and returns these.
func (c *Cache) append(p *Pass, k, v *gpu.Tensor) (keys, values *gpu.Tensor) {
	l, at := c.layers[p.Layer], c.rows(p.Layer)
	copyRows(p.Rec, l.k, at, k, 0, k.Rows)
	copyRows(p.Rec, l.v, at, v, 0, v.Rows)
	return l.k, l.v
}

// copyRows copies n rows from row `from` of src on to row `to` of dst on.
func copyRows(rec *gpu.Recorder, dst *gpu.Tensor, to int, src *gpu.Tensor, from, n int) {
	row := gpu.F32.Size(src.Cols)
	target, source := dst.Single(), src.Single()
	target.Offset, target.Size = target.Offset+int64(to)*row, int64(n)*row
	source.Offset, source.Size = source.Offset+int64(from)*row, int64(n)*row
	rec.Copy(target, source)
}
