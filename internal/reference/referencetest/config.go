// Package referencetest makes float64 decoders of model folders and parity cases. It reads their files by itself:
// what it is compared with must not share a mistake of internal/pretrained. Only tests import it.
package referencetest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"

	"qlora-wgpu/internal/reference"
)

// config is what config.json, as transformers 5 writes it, says about arithmetic. Biases and where norms stand are not
// among it: the tensors tell them.
type config struct {
	ModelType    string   `json:"model_type"`
	Hidden       int      `json:"hidden_size"`
	Intermediate int      `json:"intermediate_size"`
	Layers       int      `json:"num_hidden_layers"`
	Heads        int      `json:"num_attention_heads"`
	KVHeads      int      `json:"num_key_value_heads"`
	HeadDim      int      `json:"head_dim"`
	Vocab        int      `json:"vocab_size"`
	Positions    int      `json:"max_position_embeddings"`
	NormEps      float64  `json:"rms_norm_eps"`
	Act          string   `json:"hidden_act"`
	GemmaAct     string   `json:"hidden_activation"`
	Tied         bool     `json:"tie_word_embeddings"`
	Window       int      `json:"sliding_window"`
	UseWindow    *bool    `json:"use_sliding_window"`
	LayerTypes   []string `json:"layer_types"`
	Rotates      []int    `json:"no_rope_layers"`
	Experts      int      `json:"num_local_experts"`
	SharedMLP    int      `json:"shared_intermediate_size"`
	Positioned   string   `json:"position_embedding_type"`

	EmbeddingMultiplier float64 `json:"embedding_multiplier"`
	ResidualMultiplier  float64 `json:"residual_multiplier"`
	AttentionMultiplier float64 `json:"attention_multiplier"`
	LogitsScaling       float64 `json:"logits_scaling"`
	QueryScalar         float64 `json:"query_pre_attn_scalar"`
	ScoreCap            float64 `json:"attn_logit_softcapping"`
	LogitCap            float64 `json:"final_logit_softcapping"`

	RoPE struct {
		rope
		Full    *rope `json:"full_attention"`
		Sliding *rope `json:"sliding_attention"`
	} `json:"rope_parameters"`
}

// rope is a rotary embedding.
type rope struct {
	Theta          float64   `json:"rope_theta"`
	Type           string    `json:"rope_type"`
	Factor         float64   `json:"factor"`
	LowFreqFactor  float64   `json:"low_freq_factor"`
	HighFreqFactor float64   `json:"high_freq_factor"`
	OriginalMax    int       `json:"original_max_position_embeddings"`
	Part           float64   `json:"partial_rotary_factor"`
	ShortFactor    []float64 `json:"short_factor"`
	LongFactor     []float64 `json:"long_factor"`
	BetaFast       float64   `json:"beta_fast"`
	BetaSlow       float64   `json:"beta_slow"`
	AttentionScale float64   `json:"attention_factor"`
	QueryScaling   float64   `json:"llama_4_scaling_beta"`
	MScale         float64   `json:"mscale"`
	MScaleAllDim   float64   `json:"mscale_all_dim"`
	Older          string    `json:"type"`                    // rope_type once more
	Positions      int       `json:"max_position_embeddings"` // the model's once more
}

// inert keys change no arithmetic, or none that the tensors and other keys do not tell.
var inert = []string{
	"_sliding_window_pattern", "architectures", "attention_bias", "attention_dropout", "bos_token_id", "dtype", "embd_pdrop", "eos_token_id",
	"initializer_range", "mamba_chunk_size", "mamba_conv_bias", "mamba_d_conv", "mamba_d_head", "mamba_d_state", "mamba_expand",
	"mamba_n_groups", "mamba_n_heads", "mamba_proj_bias", "max_window_layers", "mlp_bias", "no_rope_layer_interval", "num_experts_per_tok",
	"original_max_position_embeddings", "output_router_logits", "pad_token_id", "pretraining_tp", "quantization_config", "resid_pdrop",
	"router_aux_loss_coef", "time_step_limit", "transformers_version", "use_bidirectional_attention", "use_cache",
}

// readConfig refuses a key that it does not know: the float64 decoder has no such option yet.
func readConfig(path string) (c config, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	var keys map[string]any
	if err := json.Unmarshal(data, &keys); err != nil {
		return c, err
	}
	for _, key := range inert {
		delete(keys, key)
	}
	if data, err = json.Marshal(keys); err != nil {
		return c, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	if c.Act != "silu" && !(c.gemma() && c.GemmaAct == "gelu_pytorch_tanh") {
		return c, fmt.Errorf("%s: hidden_act %q, hidden_activation %q", path, c.Act, c.GemmaAct)
	}
	return c, nil
}

// gemma tells whether the model is a Gemma, whose class scales embeddings and stores the weights of norms less 1.
func (c config) gemma() bool { return strings.HasPrefix(c.ModelType, "gemma") }

// spec is what the configuration says; tensors add to it.
func (c config) spec() (s reference.Spec, err error) {
	s = reference.Spec{
		Hidden: c.Hidden, Vocab: c.Vocab, NormEps: c.NormEps, TiedHead: c.Tied, RoPE: c.rotation(c.RoPE.rope),
		EmbeddingScale: c.EmbeddingMultiplier, ResidualScale: c.ResidualMultiplier, LogitSoftCap: c.LogitCap,
	}
	if c.LogitsScaling != 0 {
		s.LogitScale = 1 / c.LogitsScaling
	}
	if c.Experts != 0 {
		return s, fmt.Errorf("num_local_experts is %d", c.Experts)
	}
	if c.gemma() {
		s.EmbeddingScale = math.Sqrt(float64(c.Hidden))
	}
	if c.UseWindow != nil && !*c.UseWindow {
		c.Window = 0
	}
	for i := range c.Layers {
		l := reference.Layer{
			Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, MLP: cmp.Or(c.SharedMLP, c.Intermediate),
			Window: c.Window, Scale: c.AttentionMultiplier,
			SoftCap: c.ScoreCap, GELU: c.gemma(),
			NoRoPE: c.Rotates != nil && c.Rotates[i] == 0 || c.SharedMLP != 0 && c.Positioned != "rope",
		}
		if c.QueryScalar != 0 {
			l.Scale = 1 / math.Sqrt(c.QueryScalar)
		}
		kind := "sliding_attention"
		if c.LayerTypes != nil {
			kind = c.LayerTypes[i]
		}
		switch {
		case kind == "full_attention", kind == "attention" && c.SharedMLP != 0:
			l.Window = 0
		case c.LayerTypes != nil && (kind != "sliding_attention" || c.Window == 0):
			return s, fmt.Errorf("layer %d is of type %q, sliding_window is %d", i, kind, c.Window)
		}
		if own := map[string]*rope{"full_attention": c.RoPE.Full, "sliding_attention": c.RoPE.Sliding}[kind]; own != nil {
			rotation := c.rotation(*own)
			l.RoPE = &rotation
		}
		s.Layers = append(s.Layers, l)
	}
	return s, nil
}

// rotation is what a rotary embedding says.
func (c config) rotation(r rope) reference.RoPE {
	out := reference.RoPE{Theta: r.Theta, RoPEScaling: reference.RoPEScaling{
		Type: r.Type, Factor: r.Factor, LowFreqFactor: r.LowFreqFactor, HighFreqFactor: r.HighFreqFactor,
		OriginalMaxPositionEmbeddings: r.OriginalMax, ShortFactor: r.ShortFactor, LongFactor: r.LongFactor,
		BetaFast: r.BetaFast, BetaSlow: r.BetaSlow, AttentionFactor: r.AttentionScale, QueryScaling: r.QueryScaling,
	}}
	if r.Type == "yarn" && r.AttentionScale == 0 && (r.MScale == 0 || r.MScale != r.MScaleAllDim) {
		panic("referencetest: YaRN's attention factor is 1 only where mscale and mscale_all_dim are one")
	}
	if r.Part != 0 {
		headDim := c.HeadDim
		if headDim == 0 {
			headDim = c.Hidden / c.Heads
		}
		out.Dim = int(r.Part * float64(headDim))
	}
	if original := float64(r.OriginalMax); r.Type == "longrope" && r.AttentionScale == 0 {
		out.AttentionFactor = math.Sqrt(1 + math.Log(float64(c.Positions)/original)/math.Log(original))
	}
	return out
}
