package architectures

import (
	"slices"

	"qlora-wgpu/internal/model/spec"
)

// Granite4 is Granite in the class of Granite 4's hybrids, of which the dense models have neither recurrent layers nor
// experts: gate and up are one matrix of the MLP that hybrids share, and nothing rotates unless the configuration asks
// for it. Source: transformers' modeling_granitemoehybrid.py and configuration_granitemoehybrid.py. llama.cpp's files
// of such models are Granite's.
var Granite4 = register(spec.Family{
	Names: []string{"GraniteMoeHybridForCausalLM"}, ModelType: "granitemoehybrid", WrittenAs: &Granite, GateApart: true,
	Spec: func(k *spec.Keys) (spec.Spec, error) {
		k.Defaults(map[string]float64{"intermediate_size": 11008, "num_local_experts": 8, "shared_intermediate_size": 1024})
		attention := func(t string) bool { return t == "attention" || t == "full_attention" }
		if k.Float("num_local_experts", 0) != 0 {
			k.RefuseAs("num_local_experts", "makes it a mixture of experts", dense)
		}
		types := k.Texts("layer_types")
		if len(types) == 0 || !slices.ContainsFunc(types, attention) || slices.ContainsFunc(types, func(t string) bool { return !attention(t) }) {
			k.RefuseAs("layer_types", "has layers that are not attention", dense)
		}
		s, _ := Granite.Spec(k)
		if types != nil && len(types) < len(s.Layers) {
			k.Refuse("layer_types", "it has to name the type of every layer")
		}
		width := k.Width("shared_intermediate_size")
		positions := k.Text("position_embedding_type", "nope")
		if positions != "rope" && positions != "nope" {
			k.Refuse("position_embedding_type", `known are "rope", and "nope" or null, with which nothing rotates`)
		}
		for i := range s.Layers {
			l := &s.Layers[i]
			l.FusedMLP, l.MLP, l.MLPBias = true, width, false
			if positions != "rope" {
				l.RoPE = nil
			}
		}
		s.Renamed = map[string]string{spec.GateUpProj: "shared_mlp.input_linear", spec.DownProj: "shared_mlp.output_linear"}
		return s, k.Err()
	},
})

const dense = "its dense models are read: granite-4.0-350m, 1b and micro; or take a Granite 3"
