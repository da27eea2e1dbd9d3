package pretrained

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"qlora-wgpu/internal/usererr"
)

// maxDepth is how deep configuration files may nest.
const maxDepth = 64

// decodeJSON decodes a whole file. Invalid UTF-8, duplicate keys, nesting beyond maxDepth and values of another type than the
// key's are Format errors with the line; unknown keys are ignored, as Hugging Face adds them with every release.
func decodeJSON(data []byte, path string, into any) error {
	fail := func(offset int64, err error) error {
		line := 1 + bytes.Count(data[:min(int(offset), len(data))], []byte("\n"))
		return usererr.New(op, path, "%w", err).Of(usererr.Format).At("line %d", line)
	}
	d := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		_, err := d.ReadToken()
		var syntax *jsontext.SyntacticError
		switch {
		case err == nil && d.StackDepth() > maxDepth:
			return fail(d.InputOffset(), fmt.Errorf("nested deeper than %d", maxDepth))
		case errors.As(err, &syntax) && syntax.JSONPointer != "":
			return fail(syntax.ByteOffset, fmt.Errorf("no valid JSON at %s: %w", syntax.JSONPointer, syntax.Err))
		case errors.As(err, &syntax):
			return fail(syntax.ByteOffset, fmt.Errorf("no valid JSON: %w", syntax.Err))
		case err != nil && err != io.EOF:
			return fail(d.InputOffset(), err)
		}
		if err == io.EOF {
			break
		}
	}
	err := json.Unmarshal(data, into)
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		wanted := "another type"
		if semantic.GoType != nil {
			wanted = semantic.GoType.String()
		}
		reason := fmt.Errorf("%s is a %v, %s was wanted", semantic.JSONPointer, semantic.JSONKind, wanted)
		if semantic.Err != nil {
			reason = fmt.Errorf("%s: %w", semantic.JSONPointer, semantic.Err)
		}
		return fail(semantic.ByteOffset, reason)
	} else if err != nil {
		return fail(0, err)
	}
	return nil
}

// configJSON is config.json as it is written; a key that is absent or null keeps its default.
type configJSON struct {
	Architectures         []string                  `json:"architectures"`
	ModelType             string                    `json:"model_type"`
	HiddenSize            int                       `json:"hidden_size"`
	IntermediateSize      int                       `json:"intermediate_size"`
	NumHiddenLayers       int                       `json:"num_hidden_layers"`
	NumAttentionHeads     int                       `json:"num_attention_heads"`
	NumKeyValueHeads      *int                      `json:"num_key_value_heads"`
	HeadDim               *int                      `json:"head_dim"`
	VocabSize             int                       `json:"vocab_size"`
	MaxPositionEmbeddings *int                      `json:"max_position_embeddings"`
	RMSNormEps            *float64                  `json:"rms_norm_eps"`
	RopeTheta             *float64                  `json:"rope_theta"`
	RopeScaling           map[string]jsontext.Value `json:"rope_scaling"`    // transformers 4
	RopeParameters        map[string]jsontext.Value `json:"rope_parameters"` // transformers 5, holds rope_theta too
	PartialRotaryFactor   *float64                  `json:"partial_rotary_factor"`
	TieWordEmbeddings     bool                      `json:"tie_word_embeddings"`
	AttentionBias         bool                      `json:"attention_bias"`
	MLPBias               bool                      `json:"mlp_bias"`
	HiddenAct             *string                   `json:"hidden_act"`
	BosTokenID            *int                      `json:"bos_token_id"`
	EosTokenID            tokenIDs                  `json:"eos_token_id"`
	PadTokenID            *int                      `json:"pad_token_id"`
	QuantizationConfig    *struct {
		Method string `json:"quant_method"`
	} `json:"quantization_config"`
}

// tokenIDs is one id, a list of them, or null.
type tokenIDs []int

func (t *tokenIDs) UnmarshalJSON(b []byte) error {
	if jsontext.Value(b).Kind() == '[' {
		return json.Unmarshal(b, (*[]int)(t))
	}
	var id *int
	if err := json.Unmarshal(b, &id); err != nil {
		return err
	}
	if *t = nil; id != nil {
		*t = tokenIDs{*id}
	}
	return nil
}

// ropeJSON is the content of rope_scaling and rope_parameters.
type ropeJSON struct {
	RopeType             *string  `json:"rope_type"`
	Type                 *string  `json:"type"` // before transformers 4.43
	RopeTheta            *float64 `json:"rope_theta"`
	Factor               float64  `json:"factor"`
	LowFreqFactor        float64  `json:"low_freq_factor"`
	HighFreqFactor       float64  `json:"high_freq_factor"`
	OriginalMaxPositions int      `json:"original_max_position_embeddings"`
	PartialRotaryFactor  *float64 `json:"partial_rotary_factor"`
}

// parseConfig reads a config.json and checks it. Defaults are those of transformers' LlamaConfig; sizes have none.
func parseConfig(data []byte, path string) (Config, error) {
	var j configJSON
	if err := decodeJSON(data, path, &j); err != nil {
		return Config{}, err
	}
	unsupported := func(format string, args ...any) *usererr.Error {
		return usererr.New(op, path, "%w", fmt.Errorf(format, args...)).Of(usererr.Unsupported)
	}
	if j.QuantizationConfig != nil {
		return Config{}, unsupported("the weights are quantized already (quantization_config, method %q)", j.QuantizationConfig.Method).
			Hinted("take the original model, its weights are quantized to NF4 on loading")
	}
	c := Config{
		Architectures: j.Architectures, ModelType: j.ModelType, HiddenSize: j.HiddenSize, IntermediateSize: j.IntermediateSize,
		NumHiddenLayers: j.NumHiddenLayers, NumAttentionHeads: j.NumAttentionHeads,
		NumKeyValueHeads: or(j.NumKeyValueHeads, j.NumAttentionHeads), VocabSize: j.VocabSize,
		MaxPositionEmbeddings: or(j.MaxPositionEmbeddings, 2048), RMSNormEps: or(j.RMSNormEps, 1e-6), RopeTheta: or(j.RopeTheta, 10000),
		TieWordEmbeddings: j.TieWordEmbeddings, AttentionBias: j.AttentionBias, MLPBias: j.MLPBias, HiddenAct: or(j.HiddenAct, "silu"),
		BosTokenID: or(j.BosTokenID, -1), EosTokenIDs: j.EosTokenID, PadTokenID: or(j.PadTokenID, -1),
	}
	if j.HeadDim != nil {
		c.HeadDim = *j.HeadDim
	} else if j.NumAttentionHeads > 0 {
		if j.HiddenSize%j.NumAttentionHeads != 0 {
			return Config{}, usererr.New(op, path, "hidden_size %d is no multiple of num_attention_heads %d, and there is no head_dim",
				j.HiddenSize, j.NumAttentionHeads).Of(usererr.Format)
		}
		c.HeadDim = j.HiddenSize / j.NumAttentionHeads
	}
	for _, m := range []map[string]jsontext.Value{j.RopeScaling, j.RopeParameters} {
		if m == nil {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if m[key].Kind() == '{' {
				return Config{}, unsupported("rope parameters that differ by layer type (%s)", key)
			}
		}
		var r ropeJSON
		object, err := json.Marshal(m)
		if err == nil {
			err = json.Unmarshal(object, &r)
		}
		if err != nil {
			return Config{}, usererr.New(op, path, "rope_scaling or rope_parameters: %w", err).Of(usererr.Format)
		}
		if or(r.PartialRotaryFactor, 1) != 1 {
			return Config{}, unsupported("partial_rotary_factor %v", *r.PartialRotaryFactor)
		}
		c.RopeTheta = or(r.RopeTheta, c.RopeTheta)
		if kind := or(r.RopeType, or(r.Type, "default")); kind != "default" {
			c.RopeScaling = &RopeScaling{Type: kind, Factor: r.Factor, LowFreqFactor: r.LowFreqFactor, HighFreqFactor: r.HighFreqFactor,
				OriginalMaxPositionEmbeddings: r.OriginalMaxPositions}
		}
	}
	if or(j.PartialRotaryFactor, 1) != 1 {
		return Config{}, unsupported("partial_rotary_factor %v", *j.PartialRotaryFactor)
	}
	return c, c.validate(path)
}

// or is *p, or the default where p is nil.
func or[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}
	return *p
}
