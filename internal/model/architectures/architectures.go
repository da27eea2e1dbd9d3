// Package architectures holds the families, a file each: how a configuration becomes a description of the model. They
// declare only; package model does the rest.
package architectures

import (
	"slices"
	"strings"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

var families []spec.Family

// register is how a file's family gets known.
func register(f spec.Family) spec.Family {
	families = append(families, f)
	return f
}

// Find is the family of a configuration: as in transformers its model_type decides, unless architectures names classes
// of which none is known; where the model_type is none that is known, its architectures do.
func Find(k *spec.Keys) (spec.Family, error) {
	names, kind := k.Texts("architectures"), k.Text("model_type", "")
	isKnown := func(name string) bool {
		return slices.ContainsFunc(families, func(f spec.Family) bool { return slices.Contains(f.Names, name) })
	}
	for _, f := range families {
		if f.ModelType == kind && (len(names) == 0 || slices.ContainsFunc(names, isKnown) || slices.ContainsFunc(names, ofStem(f))) {
			return f, nil
		}
	}
	for _, f := range families {
		if slices.ContainsFunc(names, func(name string) bool { return slices.Contains(f.Names, name) }) {
			return f, nil
		}
	}
	if len(names) > 0 {
		k.Refuse("architectures", known(func(f spec.Family) []string { return f.Names }))
	} else {
		k.Refuse("model_type", known(func(f spec.Family) []string { return []string{f.ModelType} }))
	}
	return spec.Family{}, k.Err()
}

// ofStem tells whether a class is the family's as early files write it (LLaMAForCausalLM), or its decoder without a
// head (LlamaModel), whose weights may still be those of the whole.
func ofStem(f spec.Family) func(name string) bool {
	return func(name string) bool {
		return slices.ContainsFunc(f.Names, func(own string) bool {
			return strings.EqualFold(name, own) || name == strings.TrimSuffix(own, "ForCausalLM")+"Model"
		})
	}
}

// FindGGUF is the family of GGUF files of an architecture.
func FindGGUF(architecture, path string) (spec.Family, error) {
	for _, f := range families {
		if f.GGUF != "" && f.GGUF == architecture {
			return f, nil
		}
	}
	return spec.Family{}, usererr.New("open model", path, "the architecture is %q", architecture).Of(usererr.Unsupported).
		Hinted("%s; of others, the Hugging Face folder may be", known(func(f spec.Family) []string { return []string{f.GGUF} }))
}

// known is a hint of what is known.
func known(names func(spec.Family) []string) string {
	var all []string
	for _, f := range families {
		all = append(all, names(f)...)
	}
	all = slices.DeleteFunc(all, func(name string) bool { return name == "" })
	slices.Sort(all)
	return "known are " + strings.Join(all, ", ")
}
