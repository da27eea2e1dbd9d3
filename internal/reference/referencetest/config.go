// Package referencetest makes float64 decoders of model folders and parity cases. It reads their files by itself:
// what it is compared with must not share a mistake of internal/pretrained. Only tests import it.
package referencetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"qlora-wgpu/internal/reference"
)

// config is what config.json, as transformers 5 writes it, says about arithmetic. Biases and norms of queries and
// keys are not among it: the tensors tell them.
type config struct {
	Hidden       int      `json:"hidden_size"`
	Intermediate int      `json:"intermediate_size"`
	Layers       int      `json:"num_hidden_layers"`
	Heads        int      `json:"num_attention_heads"`
	KVHeads      int      `json:"num_key_value_heads"`
	HeadDim      int      `json:"head_dim"`
	Vocab        int      `json:"vocab_size"`
	NormEps      float64  `json:"rms_norm_eps"`
	Act          string   `json:"hidden_act"`
	Tied         bool     `json:"tie_word_embeddings"`
	Window       int      `json:"sliding_window"`
	UseWindow    *bool    `json:"use_sliding_window"`
	LayerTypes   []string `json:"layer_types"`
	RoPE         struct {
		Theta          float64 `json:"rope_theta"`
		Type           string  `json:"rope_type"`
		Factor         float64 `json:"factor"`
		LowFreqFactor  float64 `json:"low_freq_factor"`
		HighFreqFactor float64 `json:"high_freq_factor"`
		OriginalMax    int     `json:"original_max_position_embeddings"`
	} `json:"rope_parameters"`
}

// inert keys change no arithmetic, or none that the tensors do not tell.
var inert = []string{
	"architectures", "attention_bias", "attention_dropout", "bos_token_id", "dtype", "eos_token_id", "initializer_range",
	"max_position_embeddings", "max_window_layers", "mlp_bias", "model_type", "pad_token_id", "pretraining_tp",
	"quantization_config", "transformers_version", "use_cache",
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
	if c.Act != "silu" {
		return c, fmt.Errorf("%s: hidden_act %q", path, c.Act)
	}
	return c, nil
}

// spec is what the configuration says; tensors add to it.
func (c config) spec() (s reference.Spec, err error) {
	s = reference.Spec{Hidden: c.Hidden, Vocab: c.Vocab, NormEps: c.NormEps, TiedHead: c.Tied, RoPE: reference.RoPE{Theta: c.RoPE.Theta}}
	s.RoPE.RoPEScaling = reference.RoPEScaling{
		Type: c.RoPE.Type, Factor: c.RoPE.Factor, LowFreqFactor: c.RoPE.LowFreqFactor, HighFreqFactor: c.RoPE.HighFreqFactor,
		OriginalMaxPositionEmbeddings: c.RoPE.OriginalMax,
	}
	if c.UseWindow != nil && !*c.UseWindow {
		c.Window = 0
	}
	for i := range c.Layers {
		l := reference.Layer{Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, MLP: c.Intermediate, Window: c.Window}
		if c.LayerTypes != nil {
			switch kind := c.LayerTypes[i]; {
			case kind == "full_attention":
				l.Window = 0
			case kind != "sliding_attention" || c.Window == 0:
				return s, fmt.Errorf("layer %d is of type %q, sliding_window is %d", i, kind, c.Window)
			}
		}
		s.Layers = append(s.Layers, l)
	}
	return s, nil
}
