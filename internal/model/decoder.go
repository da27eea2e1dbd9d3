package model

import (
	"errors"
	"slices"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// Model is a decoder with frozen weights on a device: what the trainer drives.
type Model struct {
	spec      spec.Spec
	dev       *gpu.Device
	store     *paging.Store
	layers    []*layer
	norm      *paging.Handle // the final norm's weight
	embed     *paging.Table  // [V, C]
	head      Head
	rotary    []rotary // of the layers, each once
	positions int      // that their tables have
}

// rotary are the tables of a rotary embedding; long are those of sequences beyond the original context, where they are
// others.
type rotary struct {
	of          *spec.RoPE
	short, long RotaryTables
}

// embedTokens is x [T, C], the tokens' rows of the embedding.
func (m *Model) embedTokens(p *Pass) []*gpu.Tensor {
	p.Rotary = m.tables(p.Positions)
	x := p.NewChunks("embedded", m.spec.Hidden)
	for i, c := range p.Chunks {
		m.embed.Gather(p.Rec, x[i], c.IDs, c.HostIDs)
		if scale := m.spec.EmbeddingScale; scale != 0 {
			row := x[i]
			x[i] = p.New("embedded scaled", row.Rows, row.Cols)
			kernels.ScaleForward(p.Rec, x[i], row, float32(scale))
			p.Free(row)
		}
	}
	return x
}

// hidden is the last layer's output.
func (m *Model) hidden(p *Pass) []*gpu.Tensor {
	x := m.embedTokens(p)
	for i, l := range m.layers {
		p.Layer = i
		y, _ := l.forward(p, l.weights.Use(p.Rec), x, false, false)
		p.Free(x...)
		x = y
	}
	return x
}

// Evaluate records the forward pass and adds its losses to p.Stats.
func (m *Model) Evaluate(p *Pass) {
	m.head.Loss(p, m.norm.Use(p.Rec), m.hidden(p), false)
}

// Logits records the forward pass and returns the last token's logits [1, V]; with p.Cache it reads and fills that.
func (m *Model) Logits(p *Pass) *gpu.Tensor {
	if p.Cache != nil {
		p.Cache = p.Cache.begin(p)
	}
	x := m.hidden(p)
	if p.Cache != nil {
		p.Cache.length += p.Tokens
	}
	return m.head.Logits(p, m.norm.Use(p.Rec), x[0])
}

// Store holds the frozen weights.
func (m *Model) Store() *paging.Store { return m.store }

// Linears are all linears of the layers, in the list's order: the adapter attaches to them.
func (m *Model) Linears() (all []*lora.Linear) {
	for _, l := range m.layers {
		all = append(all, l.linears...)
	}
	return all
}

// Shape is the numbers of a model that the trainer plans with.
type Shape struct {
	Layers, Hidden, Vocab, MaxPositions int
}

// Shape tells what the trainer needs to know.
func (m *Model) Shape() Shape {
	return Shape{Layers: len(m.layers), Hidden: m.spec.Hidden, Vocab: m.spec.Vocab, MaxPositions: m.spec.MaxPositions}
}

// SetMaxPositions makes the rotary tables for sequences of n tokens. Tables that no binding holds are a *usererr.Error.
func (m *Model) SetMaxPositions(n int) error {
	n = min(max(n, 1), m.spec.MaxPositions)
	if m.positions >= n {
		return nil
	}
	m.releaseTables()
	for _, r := range m.spec.Rotations() {
		t := rotary{of: r}
		var err error
		t.short, err = m.makeTables(r, n, false)
		if err == nil && r.HasLong(n) {
			t.long, err = m.makeTables(r, n, true)
		}
		m.rotary = append(m.rotary, t)
		if err != nil {
			m.releaseTables() // the next call does not take some for all
			return err
		}
	}
	m.positions = n
	return nil
}

func (m *Model) makeTables(r *spec.RoPE, n int, long bool) (t RotaryTables, err error) {
	t.Keys, err = m.newTable(n, r.Dim/2)
	t.Queries = t.Keys
	if err == nil && r.ScalesQueries(n) {
		t.Queries, err = m.newTable(n, r.Dim/2)
	}
	if err != nil {
		return t, err
	}
	cos, sin := r.Tables(n, long)
	err = t.Keys.write(cos, sin)
	if err == nil && t.Queries != t.Keys {
		err = t.Queries.write(r.ForQueries(cos), r.ForQueries(sin))
	}
	return t, err
}

func (m *Model) newTable(positions, cols int) (t RotaryTable, err error) {
	if t.Cos, err = m.dev.NewWholeTensor("a table of positions", gpu.F32, positions, cols); err == nil {
		t.Sin, err = m.dev.NewWholeTensor("a table of positions", gpu.F32, positions, cols)
	}
	if large := new(gpu.TooLarge); errors.As(err, &large) {
		return t, usererr.New("plan memory", "", "sequences of %d tokens: %w", positions, err).Hinted("lower max_seq_length or max_tokens")
	}
	return t, err
}

func (t RotaryTable) write(cos, sin []float32) error {
	if err := t.Cos.WriteFloat32(cos); err != nil {
		return err
	}
	return t.Sin.WriteFloat32(sin)
}

// SameRotation tells whether sequences of these lengths are rotated alike: what is cached of one is good for the other.
func (m *Model) SameRotation(a, b int) bool {
	return !slices.ContainsFunc(m.spec.Rotations(), func(r *spec.RoPE) bool { return r.HasLong(a) != r.HasLong(b) })
}

// tables are those of a pass whose longest sequence has so many positions.
func (m *Model) tables(positions int) (all []RotaryTables) {
	for _, t := range m.rotary {
		if t.of.HasLong(positions) {
			all = append(all, t.long)
		} else {
			all = append(all, t.short)
		}
	}
	return all
}

// FrozenBytes is the size of the frozen weights, wherever they lie.
func (m *Model) FrozenBytes() int64 { return m.store.FrozenBytes() }

// Parameters counts the base model's parameters.
func (m *Model) Parameters() int64 { return m.spec.Parameters() }

// First is the model with its first n layers only. It shares weights and tables with m, which releases them: it is not
// to outlive m, nor to have more positions.
func (m *Model) First(n int) *Model {
	short := *m
	short.spec, short.layers = m.spec.WithLayers(n), m.layers[:n]
	return &short
}

// Release frees the weights and tables.
func (m *Model) Release() {
	m.store.Release()
	m.releaseTables()
}

func (t RotaryTable) release() {
	for _, part := range []*gpu.Tensor{t.Cos, t.Sin} {
		if part != nil {
			part.Release()
		}
	}
}

func (m *Model) releaseTables() {
	for _, r := range m.rotary {
		for _, t := range []RotaryTables{r.short, r.long} {
			t.Keys.release()
			if t.Queries != t.Keys {
				t.Queries.release()
			}
		}
	}
	m.rotary, m.positions = nil, 0
}
