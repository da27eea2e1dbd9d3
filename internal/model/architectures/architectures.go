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

// Find is the family of a configuration: by its architectures, or by its model_type where it names none.
func Find(k *spec.Keys) (spec.Family, error) {
	names, kind := k.Texts("architectures"), k.Text("model_type", "")
	for _, f := range families {
		named := slices.ContainsFunc(names, func(name string) bool { return slices.Contains(f.Names, name) })
		if named || len(names) == 0 && f.ModelType == kind {
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

// FindGGUF is the family of GGUF files of an architecture.
func FindGGUF(architecture, path string) (spec.Family, error) {
	for _, f := range families {
		if f.GGUF == architecture {
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
	slices.Sort(all)
	return "known are " + strings.Join(all, ", ")
}
