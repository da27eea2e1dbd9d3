package pretrained

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"maps"
	"math"
	"slices"
	"strconv"

	"qlora-wgpu/internal/model/architectures"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

// ConfigJSON makes the config.json that describes a GGUF file's model to transformers, and generation_config.json. It
// is an unsupported *usererr.Error where no key of transformers says what a tensor of the file does to the rotary
// frequencies.
func (m *Model) ConfigJSON(dtype string) (config, generation []byte, err error) {
	family, _ := architectures.Of(m.Spec)
	values := maps.Clone(m.keys)
	values["architectures"], values["model_type"], values["dtype"] = family.Names[:1], family.ModelType, dtype
	values["vocab_size"], values["tie_word_embeddings"] = m.Spec.Vocab, m.Spec.TiedHead
	delete(values, "attention_temperature_scale") // rope_scaling has it
	factors, long := values[spec.RopeFactors], values[spec.LongRopeFactors]
	delete(values, spec.RopeFactors)
	delete(values, spec.LongRopeFactors)
	if factors != nil && long == nil {
		scaling := llama3Scaling(m.Spec.Rotations()[0])
		if scaling == nil {
			return nil, nil, usererr.New(op, m.path, "rotary frequencies are divided by factors of the file's own, which no key of "+
				"config.json has").Of(usererr.Unsupported).Hinted("take the Hugging Face folder of the model; its name on the hub will do")
		}
		values["rope_scaling"] = scaling
	}
	if len(m.Tokens.EOS) == 1 {
		values["eos_token_id"] = m.Tokens.EOS[0]
	}
	for key, value := range values {
		x, ok := value.(float64)
		switch {
		case !ok:
		case math.IsInf(x, 0) || math.IsNaN(x):
			return nil, nil, usererr.New(op, m.path, "%s is %v", key, x).Of(usererr.Format)
		default:
			values[key] = shortest(x)
		}
	}
	if config, err = indented(values); err != nil {
		return nil, nil, err
	}
	generated := map[string]any{}
	if len(m.Tokens.Stop) > 0 {
		generated["eos_token_id"] = m.Tokens.Stop
	}
	for key, id := range map[string]int{"bos_token_id": m.Tokens.BOS, "pad_token_id": m.Tokens.Pad} {
		if id >= 0 {
			generated[key] = id
		}
	}
	generation, err = indented(generated)
	return config, generation, err
}

// shortest is the decimal number that people wrote before a file had its float32.
func shortest(x float64) float64 {
	if float64(float32(x)) != x {
		return x
	}
	short, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', -1, 32), 64)
	if err != nil {
		return x
	}
	return short
}

func indented(values map[string]any) ([]byte, error) {
	return json.Marshal(values, json.Deterministic(true), jsontext.WithIndent("  "))
}

// llama3Scaling finds the scaling of which llama.cpp's converter has made divisors: Llama 3.1 and its successors differ
// in the factor alone. nil: they are of another one.
func llama3Scaling(r *spec.RoPE) map[string]any {
	factor := float64(slices.Max(r.Factors))
	guess := *r
	guess.Factors, guess.Scaling = nil, "llama3"
	guess.Factor, guess.LowFreqFactor, guess.HighFreqFactor, guess.OriginalMaxPositions = factor, 1, 4, 8192
	for i, f := range guess.Divisors() {
		if math.Abs(float64(f-r.Factors[i])) > 1e-4*float64(f) {
			return nil
		}
	}
	return map[string]any{
		"rope_type": guess.Scaling, "factor": factor, "low_freq_factor": guess.LowFreqFactor, "high_freq_factor": guess.HighFreqFactor,
		"original_max_position_embeddings": guess.OriginalMaxPositions,
	}
}
