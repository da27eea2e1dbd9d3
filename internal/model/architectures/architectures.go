// Package architectures holds the families, a file each: how a configuration becomes a description of the model. They
// declare only; package model does the rest.
package architectures

import (
	"cmp"
	"fmt"
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
	key, name := "model_type", func(f spec.Family) string { return f.ModelType }
	if len(names) > 0 {
		key, name = "architectures", func(f spec.Family) string { return f.Names[0] }
	}
	within, _ := inner(k.Values)["model_type"].(string)
	what, far := isOther(k)
	k.RefuseAs(key, what, hint(name, far, append(names, kind, within)))
	return spec.Family{}, k.Err()
}

// Of is the family that made a description; ok is false of one that was made by hand.
func Of(s spec.Spec) (f spec.Family, ok bool) {
	i := slices.IndexFunc(families, func(f spec.Family) bool { return f.Names[0] == s.Family })
	if i < 0 {
		return f, false
	}
	return families[i], true
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

// FindGGUF is the family of GGUF files of an architecture; k has what else the file says of it.
func FindGGUF(architecture string, k *spec.Keys) (spec.Family, error) {
	for _, f := range families {
		if f.GGUF != "" && f.GGUF == architecture {
			return f, nil
		}
	}
	err := usererr.New("open model", k.Path, "the architecture is %q", architecture).Of(usererr.Unsupported)
	what, far := isOther(k)
	if what != "" {
		err.Err = fmt.Errorf("%w, which %s", err.Err, what)
	}
	err.Hint = hint(func(f spec.Family) string { return f.GGUF }, far, []string{architecture})
	if slices.ContainsFunc(families, func(f spec.Family) bool { return f.GGUF == "" && f.ModelType == architecture }) {
		err.Hint += "; of this one, the Hugging Face folder is"
	}
	return spec.Family{}, err
}

// hint is the way out of a model of no family: the families that are known, and the one that is nearest to any of these
// names. Where none is alike that is Llama, the plain decoder, unless the model is far from all.
func hint(name func(spec.Family) string, far bool, names []string) string {
	near, alike := nearest(name, names...)
	if !alike {
		near = Llama
	}
	var all []string
	for _, f := range families {
		if own := name(f); own != "" {
			all = append(all, own)
		}
	}
	slices.Sort(all)
	text := "known are " + strings.Join(all, ", ")
	if alike || !far && strings.Join(names, "") != "" {
		text += "; the nearest is " + cmp.Or(name(near), near.ModelType)
	}
	return text
}
