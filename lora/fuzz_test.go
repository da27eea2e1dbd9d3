package lora

import (
	"math"
	"testing"
)

// Any adapter_config.json is read or refused.
func FuzzReadConfig(f *testing.F) {
	for _, keys := range []string{
		`"rank_pattern":{"a":1,"b":2},"alpha_pattern":{"q":1},"exclude_modules":["a"],"layers_to_transform":[1],"layers_pattern":["h"]`,
		`"exclude_modules":"(a|b)*","hyper":[{}],"layers_to_transform":1`, `"init_lora_weights":"pissa","use_rslora":true,"lora_dropout":0.5`,
	} {
		f.Add(with(keys))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ReadConfig(data, "x")
		if err != nil {
			return
		}
		const linear = "model.layers.1.self_attn.q_proj"
		c.loaded.selection.names(linear)
		if rank := c.rank(linear); rank < 1 || !(c.scaling(linear) >= 0 && c.scaling(linear) <= math.MaxFloat32) {
			t.Fatalf("rank %d, scaling %v", rank, c.scaling(linear))
		}
	})
}
