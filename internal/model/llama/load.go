package llama

import (
	"context"
	"fmt"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/nf4"
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
		layout := paging.NewLayout(m.dev.Limits.MaxBindingBytes)
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

// Load quantizes a model into its places. Host memory holds, beside what the plan leaves there, one layer at a time. progress is called after each layer.
func Load(ctx context.Context, dev *gpu.Device, source *pretrained.Model, blockSize int, plan *paging.Plan, progress func(done, total int)) (model.Model, error) {
	m, err := New(source.Config, dev, blockSize, plan)
	if err != nil {
		return nil, err
	}
	if err := m.load(ctx, source, blockSize, progress); err != nil {
		m.Release()
		return nil, err
	}
	return m, nil
}

func (m *Model) load(ctx context.Context, source *pretrained.Model, blockSize int, progress func(done, total int)) error {
	c := m.config
	for i, l := range m.layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		layout := l.weights.Layout()
		parts := layout.NewParts()
		for _, lin := range l.linears() {
			if err := quantize(source, layout, parts, lin, blockSize, c.bias(lin)); err != nil {
				return err
			}
		}
		for _, norm := range []model.Norm{l.inputNorm, l.postAttentionNorm} {
			if err := vector(source, layout, parts, norm.Weight, layerPrefix(i)+norm.Weight, c.HiddenSize); err != nil {
				return err
			}
		}
		if err := l.weights.Put(parts); err != nil {
			return err
		}
		if progress != nil {
			progress(i+1, c.NumHiddenLayers)
		}
	}
	return m.loadEnds(source)
}

// loadEnds loads what is not in a layer: embedding, final norm, head.
func (m *Model) loadEnds(source *pretrained.Model) error {
	c := m.config
	layout := m.norm.Layout()
	parts := layout.NewParts()
	if err := vector(source, layout, parts, m.head.Norm.Weight, "model.norm", c.HiddenSize); err != nil {
		return err
	}
	if err := m.norm.Put(parts); err != nil {
		return err
	}
	fill := func(t *paging.Table, name string) error {
		if err := source.Expect(name, c.VocabSize, c.HiddenSize); err != nil {
			return err
		}
		return t.Fill(c.VocabSize, func(first, n int, values []float32) error { return source.ReadRows(name, first, n, values) })
	}
	if err := fill(m.embed, "model.embed_tokens.weight"); err != nil || c.TieWordEmbeddings {
		return err
	}
	return fill(m.head.Table, "lm_head.weight")
}

// quantize puts one linear into its place in the parts.
func quantize(source *pretrained.Model, layout *paging.Layout, parts [][]byte, l *lora.Linear, blockSize int, hasBias bool) error {
	name := l.Name + ".weight"
	if err := source.Expect(name, l.Out, l.In); err != nil {
		return err
	}
	n := l.Out * l.In
	values := make([]float32, n)
	if err := source.ReadRows(name, 0, l.Out, values); err != nil {
		return err
	}
	if i := nf4.FirstNonFinite(values); i >= 0 {
		return usererr.New("quantize "+name, "", "element [%d,%d] is %v", i/l.In, i%l.In, values[i]).Of(usererr.Format).Hinted("the model file is damaged or was diverging when it was saved")
	}
	packed, absmax := make([]byte, nf4.PackedLen(n)), make([]float32, nf4.Blocks(n, blockSize))
	nf4.QuantizeParallel(values, blockSize, packed, absmax)
	var bias []float32
	if hasBias {
		bias = make([]float32, l.Out)
		if err := source.Expect(l.Name+".bias", 1, l.Out); err != nil {
			return err
		}
		if err := source.ReadRows(l.Name+".bias", 0, 1, bias); err != nil {
			return err
		}
	}
	layout.PutLinear(parts, l.Weight, packed, doublequant.Quantize(absmax), bias)
	return nil
}

func vector(source *pretrained.Model, layout *paging.Layout, parts [][]byte, name, tensor string, n int) error {
	tensor += ".weight"
	if err := source.Expect(tensor, 1, n); err != nil {
		return err
	}
	values := make([]float32, n)
	if err := source.ReadRows(tensor, 0, 1, values); err != nil {
		return err
	}
	layout.PutVector(parts, name, values)
	return nil
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
