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

// Load puts the model on the device: linears in NF4 with double quantization, embedding and head in bfloat16, norms in float32; from the cache, or
// made from the model file. Host memory holds a few sections at a time.
func Load(ctx context.Context, dev *gpu.Device, source *pretrained.Model, o model.LoadOptions) (model.Model, error) {
	m := &Model{config: config{source.Config}, dev: dev}
	err := m.config.check()
	if err == nil {
		err = m.load(ctx, source, o)
	}
	if err != nil {
		m.Release()
		return nil, err
	}
	return m, nil
}

func (m *Model) load(ctx context.Context, source *pretrained.Model, o model.LoadOptions) error {
	c := m.config
	q := quantizer{source, o.BlockSize}
	var sections []paging.Section
	for i := range c.NumHiddenLayers {
		l := newLayer(c, i)
		layout := paging.NewLayout(m.dev.Limits.MaxBindingBytes)
		var linears []linear
		for _, lin := range l.linears() {
			layout.AddLinear(lin.Weight, lin.Out, lin.In, o.BlockSize, c.bias(lin))
			linears = append(linears, linear{lin, c.bias(lin)})
		}
		norms := []vector{{l.inputNorm.Weight, layerPrefix(i) + l.inputNorm.Weight, c.HiddenSize}, {l.postAttentionNorm.Weight, layerPrefix(i) + l.postAttentionNorm.Weight, c.HiddenSize}}
		for _, norm := range norms {
			layout.AddVector(norm.weight, norm.n)
		}
		section, err := m.region(fmt.Sprintf("layer %d", i), layout, func(parts [][]byte) error { return q.fill(layout, parts, linears, norms) })
		if err != nil {
			return err
		}
		m.layers, sections = append(m.layers, l), append(sections, section)
	}
	ends, err := m.ends(q)
	if err != nil {
		return err
	}
	return paging.Load(ctx, append(sections, ends...), o.Cache, fmt.Sprintf("NF4 blocks of %d", o.BlockSize), o.Progress)
}

// region makes a region's memory on the device and the section that fills it.
func (m *Model) region(label string, layout *paging.Layout, fill func(parts [][]byte) error) (paging.Section, error) {
	region, err := paging.NewRegion(m.dev, label, layout)
	if err != nil {
		return paging.Section{}, err
	}
	m.regions = append(m.regions, region)
	return paging.Section{
		Parts: layout.Parts,
		Make: func(emit func(data []byte) error) error {
			parts := layout.NewParts()
			if err := fill(parts); err != nil {
				return err
			}
			for _, part := range parts {
				if err := emit(part); err != nil {
					return err
				}
			}
			return nil
		},
		Place: func(part int, _ int64, data []byte) error { return region.Put(part, data) },
	}, nil
}

// ends are the sections of what is not in a layer: final norm, embedding, head.
func (m *Model) ends(q quantizer) (sections []paging.Section, err error) {
	c := m.config
	m.head = model.Head{Norm: model.Norm{Weight: "model.norm", Eps: float32(c.RMSNormEps)}, Vocab: c.VocabSize}
	layout := paging.NewLayout(m.dev.Limits.MaxBindingBytes)
	layout.AddVector(m.head.Norm.Weight, c.HiddenSize)
	norm := []vector{{m.head.Norm.Weight, "model.norm", c.HiddenSize}}
	section, err := m.region("final norm", layout, func(parts [][]byte) error { return q.fill(layout, parts, nil, norm) })
	if err != nil {
		return nil, err
	}
	if m.embed, err = m.dev.NewTensor("model.embed_tokens.weight", gpu.BF16, (c.VocabSize+3)/4*4, c.HiddenSize); err != nil {
		return nil, err
	}
	m.head.Table, sections = m.embed, []paging.Section{section, q.table(m.embed, c.VocabSize)}
	if !c.TieWordEmbeddings {
		if m.head.Table, err = m.dev.NewTensor("lm_head.weight", gpu.BF16, (c.VocabSize+3)/4*4, c.HiddenSize); err != nil {
			return nil, err
		}
		sections = append(sections, q.table(m.head.Table, c.VocabSize))
	}
	return sections, nil
}

// FrozenBytes implements model.Model.
func (m *Model) FrozenBytes() (total int64) {
	for _, r := range m.regions {
		total += r.Layout.Bytes()
	}
	total += m.embed.Bytes()
	if m.head.Table != m.embed {
		total += m.head.Table.Bytes()
	}
	return total
}

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
