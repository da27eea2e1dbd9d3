package lora

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// What the names of a language model's modules begin with: in its own class of transformers, in a class that holds it
// beside an encoder of images, and in such a class before transformers 4.52, whose names later ones read as well.
const (
	alone       = "model."
	Wrapped     = "model.language_model."
	wrappedOnce = "language_model.model."
)

// named is a linear's name in the class that the adapter is for.
func (c Config) named(linear string) string {
	if c.Within == "" {
		return linear
	}
	return c.Within + strings.TrimPrefix(linear, alone)
}

// unwrapped is the name that a linear has in the language model's own class, and what it begins with where that is not
// its name.
func unwrapped(name string) (plain, within string) {
	for _, prefix := range []string{Wrapped, wrappedOnce} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return alone + rest, prefix
		}
	}
	return name, ""
}

// KeyMapping is the argument of PEFT's from_pretrained with which the adapter loads into the other class: the language
// model's own, or, where it is for that, the one with an encoder of images.
func (c Config) KeyMapping() string {
	if c.Within == "" {
		return fmt.Sprintf(`key_mapping={r"^%s": %q}`, regexp.QuoteMeta(alone), Wrapped)
	}
	return fmt.Sprintf(`key_mapping={r"^%s": %q}`, regexp.QuoteMeta(c.Within), alone)
}

// ofEncoder tells whether a module or a tensor belongs to what only images go through.
func ofEncoder(name string) bool {
	name = strings.TrimPrefix(name, alone)
	return strings.HasPrefix(name, "vision_tower.") || strings.HasPrefix(name, "multi_modal_projector.")
}

// expression is target_modules of a class that has an encoder of images too, whose linears have the same last names:
// a regular expression that names the targets in both of the language model's classes, and nothing of the encoder.
func (c Config) expression() string {
	const layers = `.*model\.layers\.`
	if c.allLinear() {
		return layers + `.*_proj`
	}
	var list []string
	for _, target := range c.Targets {
		plain, _ := unwrapped(target)
		if rest, whole := strings.CutPrefix(strings.TrimPrefix(plain, alone), "layers."); whole {
			list = append(list, regexp.QuoteMeta(rest))
		} else {
			list = append(list, `(?:.*\.)?`+regexp.QuoteMeta(target))
		}
	}
	return layers + `(?:` + strings.Join(list, "|") + `)`
}

// WriteWeights writes adapter_model.safetensors, in float32, tensors sorted by name, under the names of the class that
// the adapter is for. Errors are w's.
func (c Config) WriteWeights(w io.Writer, tensors []Tensor) error {
	renamed := slices.Clone(tensors)
	for i, t := range renamed {
		if module, is := strings.CutPrefix(t.Name, keyPrefix); is {
			renamed[i].Name = keyPrefix + c.named(module)
		}
	}
	return writeWeights(w, renamed)
}
