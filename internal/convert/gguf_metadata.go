package convert

import (
	"cmp"
	"math"
	"slices"

	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/processor"
)

// describe makes the metadata: of the file, of the model under llama.cpp's keys (gguf-py's constants.py), and of the
// tokenizer.
func (g *GGUF) describe() (warnings []string, err error) {
	s, layer := g.spec, g.spec.Layers[0]
	g.metadata = []gguf.Pair{
		{Key: "general.architecture", Value: g.family.GGUF}, {Key: "general.type", Value: "model"},
		{Key: "general.name", Value: g.options.Name}, {Key: "general.file_type", Value: uint32(g.options.Type)},
		{Key: "general.quantization_version", Value: uint32(2)},
	}
	g.add("context_length", uint32(s.MaxPositions))
	g.add("embedding_length", uint32(s.Hidden))
	g.add("block_count", uint32(len(s.Layers)))
	g.add("feed_forward_length", uint32(layer.MLP))
	g.add("attention.head_count", uint32(layer.Heads))
	g.add("attention.head_count_kv", uint32(layer.KVHeads))
	g.add("attention.key_length", uint32(layer.HeadDim))
	g.add("attention.value_length", uint32(layer.HeadDim))
	g.add("attention.layer_norm_rms_epsilon", float32(s.NormEps))
	g.add("vocab_size", uint32(s.Vocab))
	g.factors()
	if g.hasWindows() {
		g.windows()
	}
	if all := s.Rotations(); len(all) > 0 {
		g.rotation(all[len(all)-1]) // of Gemma's two, the one of layers that see all tokens, which come behind others
	}
	return g.tokenizer()
}

func (g *GGUF) add(key string, value any) {
	g.metadata = append(g.metadata, gguf.Pair{Key: g.family.GGUF + "." + key, Value: value})
}

// positive adds a number where there is one.
func (g *GGUF) positive(key string, value float64) {
	if value > 0 {
		g.add(key, float32(value))
	}
}

// factors are the scales and caps of the architectures that have them; of the others llama.cpp knows them.
func (g *GGUF) factors() {
	s, layer := g.spec, g.spec.Layers[0]
	g.positive("attn_logit_softcapping", layer.ScoreSoftCap)
	g.positive("final_logit_softcapping", s.LogitSoftCap)
	if g.family.GGUF == "granite" {
		g.add("attention.scale", float32(layer.ScoreScale))
		g.add("embedding_scale", float32(s.EmbeddingScale))
		g.add("residual_scale", float32(s.ResidualScale))
		g.add("logit_scale", float32(1/s.LogitScale))
	}
}

// windows are those of Gemma, of which every so many layers sees all tokens.
func (g *GGUF) windows() {
	layers, window := g.spec.Layers, 0
	for _, l := range layers {
		window = max(window, l.Window)
	}
	g.add("attention.sliding_window", uint32(cmp.Or(window, g.spec.MaxPositions)))
	if g.family.GGUF != "gemma3" {
		return
	}
	pattern := 1 + slices.IndexFunc(layers, func(l spec.Layer) bool { return l.RoPE != layers[0].RoPE })
	if pattern == 0 {
		pattern = len(layers) + 1
	}
	g.add("attention.sliding_window_pattern", uint32(pattern))
	if local := layers[0].RoPE; local != nil {
		g.add("rope.freq_base_swa", float32(local.Theta))
	}
}

// rotation is the rotary embedding and how it is stretched.
func (g *GGUF) rotation(r *spec.RoPE) {
	g.add("rope.dimension_count", uint32(r.Dim))
	g.add("rope.freq_base", float32(r.Theta))
	switch r.Scaling {
	case "linear", "yarn":
		g.add("rope.scaling.type", r.Scaling)
		g.add("rope.scaling.factor", float32(r.Factor))
	case "longrope":
		g.add("rope.scaling.attn_factor", float32(cmp.Or(r.AttentionFactor, 1)))
	}
	if r.Scaling == "yarn" || r.Scaling == "longrope" || r.QueryScaling != 0 {
		g.add("rope.scaling.original_context_length", uint32(r.OriginalMaxPositions))
	}
	if r.Scaling == "yarn" {
		g.add("rope.scaling.yarn_beta_fast", float32(r.BetaFast))
		g.add("rope.scaling.yarn_beta_slow", float32(r.BetaSlow))
		// llama.cpp's tables have the length 1 + 0.1·ln(factor), divided by the like of the multiplier where one is given.
		grown, size := 0.1*math.Log(max(1, r.Factor)), cmp.Or(r.AttentionFactor, 1)
		if g.family.GGUF == "mistral3" && grown > 0 {
			g.add("rope.scaling.yarn_log_multiplier", float32(((1+grown)/size-1)/grown))
		} else {
			g.add("rope.scaling.attn_factor", float32(size/(1+grown)))
		}
	}
	if r.QueryScaling != 0 {
		g.add("attention.temperature_scale", float32(r.QueryScaling))
	}
}

// tokenizer are the vocabulary, the special tokens and the templates.
func (g *GGUF) tokenizer() (warnings []string, err error) {
	const key = "tokenizer.ggml."
	add := func(name string, value any) {
		g.metadata = append(g.metadata, gguf.Pair{Key: key + name, Value: value})
	}
	model := g.weights.model
	if model.CheckTokenizer() != nil {
		add("model", pretrained.NoVocabulary)
		return []string{"The model has no tokenizer: llama.cpp takes and gives token ids alone."}, nil
	}
	p, err := processor.New(model, model.Path(), processor.Options{})
	if err != nil {
		return nil, err
	}
	source := model.Tokenizer()
	v, warnings, err := p.Tokenizer.Vocabulary(g.spec.Vocab, len(source.Templates) > 0, model.Path())
	if err != nil {
		return nil, err
	}
	add("model", v.Model)
	add("pre", cmp.Or(v.Pre, "default"))
	add("tokens", v.Tokens)
	types := make([]int32, len(v.Types))
	for i, t := range v.Types {
		types[i] = int32(t)
	}
	add("token_type", types)
	if v.Model == "llama" {
		add("scores", v.Scores)
		add("add_space_prefix", v.AddSpacePrefix)
		add("remove_extra_whitespaces", v.CollapseSpaces)
	} else {
		add("merges", v.Merges)
	}
	add("add_bos_token", v.Before != "")
	add("add_eos_token", v.After != "")
	id := func(token string) int {
		if id, ok := p.Tokenizer.ID(token); ok && token != "" {
			return int(id)
		}
		return -1
	}
	first := func(ids ...int) int {
		if i := slices.IndexFunc(ids, func(id int) bool { return id >= 0 }); i >= 0 {
			return ids[i]
		}
		return -1
	}
	named := source.Named
	eos := first(append([]int{id(v.After), id(named["eos_token"])}, model.Tokens.EOS...)...)
	special := []struct {
		name string
		id   int
	}{
		{"bos", first(id(v.Before), id(named["bos_token"]), model.Tokens.BOS)}, {"eos", eos},
		{"unknown", first(id(named["unk_token"]), slices.Index(v.Types, 2))}, {"padding", first(id(named["pad_token"]), model.Tokens.Pad)},
		{"seperator", id(named["sep_token"])}, {"mask", id(named["mask_token"])}, // the misspelling is GGUF's
	}
	for _, s := range special {
		if s.id >= 0 && s.id < g.spec.Vocab {
			add(s.name+"_token_id", uint32(s.id))
		}
	}
	ends := slices.DeleteFunc(p.StopTokens(), func(id int) bool { return id == eos || id >= g.spec.Vocab })
	slices.Sort(ends)
	ends = slices.Compact(ends)
	for i, name := range []string{"eot", "eom"} { // what else ends an answer
		if i < len(ends) {
			add(name+"_token_id", uint32(ends[i]))
		}
	}
	g.templates(source.Templates)
	return warnings, nil
}

// templates are the chat templates: the default one, and those that others ask for by name.
func (g *GGUF) templates(all map[string]string) {
	const key = "tokenizer.chat_template"
	var names []string
	for name := range all {
		if name != pretrained.DefaultTemplate {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if text := all[pretrained.DefaultTemplate]; text != "" {
		g.metadata = append(g.metadata, gguf.Pair{Key: key, Value: text})
	}
	if len(names) == 0 {
		return
	}
	g.metadata = append(g.metadata, gguf.Pair{Key: key + "s", Value: names})
	for _, name := range names {
		g.metadata = append(g.metadata, gguf.Pair{Key: key + "." + name, Value: all[name]})
	}
}
