package model

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// check refuses what the kernels cannot hold.
func check(s spec.Spec) error {
	fail := func(format string, args ...any) error {
		return usererr.New("load model", "", format, args...).Of(usererr.Unsupported)
	}
	for _, l := range s.Layers {
		switch {
		case l.HeadDim%4 != 0 || l.HeadDim > 256:
			return fail("head_dim %d, it must be a multiple of 4 and at most 256", l.HeadDim)
		case s.Hidden%8 != 0 || l.MLP%8 != 0 || l.Heads*l.HeadDim%8 != 0 || l.KVHeads*l.HeadDim%4 != 0:
			return fail("hidden_size %d, intermediate_size %d and heads of %d: widths must be multiples of 8", s.Hidden, l.MLP, l.HeadDim)
		}
	}
	return nil
}

// New makes a model of the description's shape, with room for its weights where the plan puts them (nil: all on the
// device): the format for the linears, bfloat16 for embedding and head, float32 for norms. On a dry device what is
// recorded on it tells all about memory.
func New(s spec.Spec, dev *gpu.Device, format frozen.Formats, plan *paging.Plan) (*Model, error) {
	if err := check(s); err != nil {
		return nil, err
	}
	m := &Model{spec: s, dev: dev}
	var err error
	if m.store, err = paging.NewStore(dev, plan); err != nil {
		return nil, err
	}
	if plan == nil {
		plan = &paging.Plan{StreamedLayers: make([]bool, len(s.Layers))}
	}
	if err := m.place(format, plan); err != nil {
		m.Release()
		return nil, err
	}
	return m, nil
}

// place makes the pages.
func (m *Model) place(format frozen.Formats, plan *paging.Plan) (err error) {
	s := m.spec
	for i := range s.Layers {
		l := newLayer(s, i)
		layout := paging.NewLayout(format, m.dev.PartBytes())
		for _, t := range s.LayerTensors(i) {
			switch t.Role {
			case spec.Matrix:
				layout.AddLinear(t.Module, format.Of(strings.TrimSuffix(t.Name, ".weight")), t.Rows, t.Cols, t.Biased)
			case spec.Vector:
				layout.AddVector(t.Module, t.Cols)
			}
		}
		if l.weights, err = m.store.AddRegion(fmt.Sprintf("layer %d", i), i, layout, plan.StreamedLayers[i]); err != nil {
			return err
		}
		m.layers = append(m.layers, l)
	}
	m.head = Head{
		Norm: Norm{Weight: spec.FinalNorm, Eps: float32(s.NormEps)}, Vocab: s.Vocab,
		Scale: float32(cmp.Or(s.LogitScale, 1)), SoftCap: float32(s.LogitSoftCap),
	}
	if m.head.Table, err = m.store.AddHead(s.Vocab, s.Hidden, plan.TablePageBytes, plan.StreamedHead); err != nil {
		return err
	}
	m.embed = m.head.Table
	if !s.TiedHead {
		if m.embed, err = m.store.AddEmbedding(s.Vocab, s.Hidden, plan.HostEmbedding); err != nil {
			return err
		}
	}
	layout := paging.NewLayout(format, m.dev.Limits.MaxBindingBytes)
	layout.AddVector(m.head.Norm.Weight, s.Hidden)
	m.norm, err = m.store.AddRegion("final norm", paging.Other, layout, false)
	return err
}

// LoadOptions say how a model is loaded.
type LoadOptions struct {
	Format   frozen.Formats        // of the linears' weights
	Plan     *paging.Plan          // where the weights lie; nil: all on the device
	Cache    paging.Cache          // of quantized models; nil: none
	Progress func(paging.Progress) // is called after each piece; nil: not wanted
}

// Load puts a model's weights into their places: from the cache, or made from the model file. Host memory holds, beside
// what the plan leaves there, a few sections at a time.
func Load(ctx context.Context, dev *gpu.Device, source *pretrained.Model, o LoadOptions) (*Model, error) {
	m, err := New(source.Spec, dev, o.Format, o.Plan)
	if err != nil {
		return nil, err
	}
	cache := o.Cache
	if !o.Format.Cached() {
		cache = nil
	}
	if err := paging.Load(ctx, m.sections(quantizer{source, o.Format}), cache, o.Format.Key(), o.Progress); err != nil {
		m.Release()
		return nil, err
	}
	return m, nil
}

// sections are what is to be loaded.
func (m *Model) sections(q quantizer) (sections []paging.Section) {
	for i, l := range m.layers {
		linears, vectors := inRegion(m.spec.LayerTensors(i), l.linears)
		sections = append(sections, q.region(l.weights, linears, vectors))
	}
	for _, t := range m.spec.Tensors() {
		switch {
		case t.Layer >= 0:
		case t.Role == spec.Vector:
			_, vectors := inRegion([]spec.Tensor{t}, nil)
			sections = append(sections, q.region(m.norm, nil, vectors))
		case t.Module == spec.Embedding:
			sections = append(sections, q.table(m.embed, t.Name, t.Rows))
		default:
			sections = append(sections, q.table(m.head.Table, t.Name, t.Rows))
		}
	}
	return sections
}

// inRegion are the tensors of a region as the quantizer wants them; linears are those among them, in their order.
func inRegion(tensors []spec.Tensor, linears []*lora.Linear) (matrices []linear, vectors []vector) {
	for _, t := range tensors {
		switch t.Role {
		case spec.Matrix:
			matrices = append(matrices, linear{linears[len(matrices)], t.Biased})
		case spec.Vector:
			vectors = append(vectors, vector{t.Module, strings.TrimSuffix(t.Name, ".weight"), t.Cols})
		}
	}
	return matrices, vectors
}
