package llama

import (
	"context"
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

type config struct{ pretrained.Config }

func (c config) rope() model.RoPE {
	r := model.RoPE{HeadDim: c.HeadDim, Theta: c.RopeTheta, Factors: c.RopeFactors}
	if s := c.RopeScaling; s != nil {
		r.Scaling, r.Factor, r.LowFreqFactor, r.HighFreqFactor, r.OriginalMaxPositions = s.Type, s.Factor, s.LowFreqFactor, s.HighFreqFactor, s.OriginalMaxPositionEmbeddings
	}
	return r
}

func layerPrefix(index int) string { return fmt.Sprintf("model.layers.%d.", index) }

// check refuses what this architecture's kernels cannot hold.
func (c config) check() error {
	fail := func(format string, args ...any) error {
		return usererr.New("load model", "", format, args...).Of(usererr.Unsupported)
	}
	switch {
	case c.HiddenAct != "silu":
		return fail("hidden_act %q, this architecture has silu", c.HiddenAct)
	case c.HeadDim%4 != 0 || c.HeadDim > 256:
		return fail("head_dim %d, it must be a multiple of 4 and at most 256", c.HeadDim)
	case c.HiddenSize%8 != 0 || c.IntermediateSize%8 != 0 || c.NumAttentionHeads*c.HeadDim%8 != 0 || c.NumKeyValueHeads*c.HeadDim%4 != 0:
		return fail("hidden_size %d, intermediate_size %d and heads of %d: widths must be multiples of 8", c.HiddenSize, c.IntermediateSize, c.HeadDim)
	}
	return nil
}

// bias reports whether a linear has one in this configuration.
func (c config) bias(l *lora.Linear) bool {
	switch l.Weight {
	case "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj":
		return c.AttentionBias
	}
	return c.MLPBias
}

// New makes a model of the configuration's shape, with room for its weights where the plan puts them (nil: all on the device): NF4 with double quantization in
// blocks of blockSize for the linears, bfloat16 for embedding and head, float32 for norms.
func New(shape pretrained.Config, dev *gpu.Device, blockSize int, plan *paging.Plan) (*Model, error) {
	m := &Model{config: config{shape}, dev: dev}
	if err := m.config.check(); err != nil {
		return nil, err
	}
	var err error
	if m.store, err = paging.NewStore(dev, plan); err != nil {
		return nil, err
	}
	if plan == nil {
		plan = &paging.Plan{StreamedLayers: make([]bool, shape.NumHiddenLayers)}
	}
	if err := m.place(blockSize, plan); err != nil {
		m.Release()
		return nil, err
	}
	return m, nil
}

// place makes the pages.
func (m *Model) place(blockSize int, plan *paging.Plan) (err error) {
	c := m.config
	for i := range c.NumHiddenLayers {
		l := newLayer(c, i)
		layout := paging.NewLayout(m.dev.PartBytes())
		for _, lin := range l.linears() {
			layout.AddLinear(lin.Weight, lin.Out, lin.In, blockSize, c.bias(lin))
		}
		layout.AddVector(l.inputNorm.Weight, c.HiddenSize)
		layout.AddVector(l.postAttentionNorm.Weight, c.HiddenSize)
		if l.weights, err = m.store.AddRegion(fmt.Sprintf("layer %d", i), i, layout, plan.StreamedLayers[i]); err != nil {
			return err
		}
		m.layers = append(m.layers, l)
	}
	m.head = model.Head{Norm: model.Norm{Weight: "model.norm", Eps: float32(c.RMSNormEps)}, Vocab: c.VocabSize}
	if m.head.Table, err = m.store.AddHead(c.VocabSize, c.HiddenSize, plan.TablePageBytes, plan.StreamedHead); err != nil {
		return err
	}
	m.embed = m.head.Table
	if !c.TieWordEmbeddings {
		if m.embed, err = m.store.AddEmbedding(c.VocabSize, c.HiddenSize, plan.HostEmbedding); err != nil {
			return err
		}
	}
	layout := paging.NewLayout(m.dev.Limits.MaxBindingBytes)
	layout.AddVector(m.head.Norm.Weight, c.HiddenSize)
	m.norm, err = m.store.AddRegion("final norm", paging.Other, layout, false)
	return err
}

// Load puts a model's weights into their places: from the cache, or made from the model file. Host memory holds, beside what the plan leaves there, a few sections
// at a time.
func Load(ctx context.Context, dev *gpu.Device, source *pretrained.Model, o model.LoadOptions) (model.Model, error) {
	m, err := New(source.Config, dev, o.BlockSize, o.Plan)
	if err != nil {
		return nil, err
	}
	if err := paging.Load(ctx, m.sections(quantizer{source, o.BlockSize}), o.Cache, fmt.Sprintf("NF4 blocks of %d", o.BlockSize), o.Progress); err != nil {
		m.Release()
		return nil, err
	}
	return m, nil
}

// sections are what is to be loaded.
func (m *Model) sections(q quantizer) (sections []paging.Section) {
	c := m.config
	for i, l := range m.layers {
		var linears []linear
		for _, lin := range l.linears() {
			linears = append(linears, linear{lin, c.bias(lin)})
		}
		norms := []vector{{l.inputNorm.Weight, layerPrefix(i) + l.inputNorm.Weight, c.HiddenSize}, {l.postAttentionNorm.Weight, layerPrefix(i) + l.postAttentionNorm.Weight, c.HiddenSize}}
		sections = append(sections, q.region(l.weights, linears, norms))
	}
	sections = append(sections,
		q.region(m.norm, nil, []vector{{m.head.Norm.Weight, "model.norm", c.HiddenSize}}),
		q.table(m.embed, "model.embed_tokens.weight", c.VocabSize))
	if !c.TieWordEmbeddings {
		sections = append(sections, q.table(m.head.Table, "lm_head.weight", c.VocabSize))
	}
	return sections
}

// FrozenBytes implements model.Model.
func (m *Model) FrozenBytes() int64 { return m.store.FrozenBytes() }

// Parameters implements model.Model.
func (m *Model) Parameters() (n int64) {
	c := m.config
	for _, l := range m.Linears() {
		n += int64(l.In) * int64(l.Out)
	}
	n += int64(2*c.NumHiddenLayers+1) * int64(c.HiddenSize)
	n += int64(c.VocabSize) * int64(c.HiddenSize)
	if !c.TieWordEmbeddings {
		n += int64(c.VocabSize) * int64(c.HiddenSize)
	}
	return n
}
