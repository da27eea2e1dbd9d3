package spec

import (
	"encoding/json/v2"
	"fmt"
	"math"

	"qlora-wgpu/internal/usererr"
)

// op is what reads configurations, for messages.
const op = "open model"

// Dimensions above these belong to no model and would overflow products of two of them.
const (
	maxDimension = 1 << 24
	maxPositions = 1 << 30
	maxCount     = 1 << 16 // of layers, heads, dimensions of a head
)

// Keys is a model's configuration as its file has it, under Hugging Face's names: from config.json, or from GGUF's
// metadata. A getter gives the fallback where a key is absent or null; the first mistake stays in Err, so that a family
// reads on without looking. Which keys were read is noted.
type Keys struct {
	Path   string                  // of the file, for messages
	Values map[string]any          // nil, bool, float64, string, []any, map[string]any
	Place  func(key string) string // where a key of Values stands in the file, "line 7"; nil: unknown

	parent  *Keys  // of an object in another one's Values,
	name    string // under this key
	objects map[string]*Keys
	read    map[string]bool
	err     error
}

// Err is the first mistake.
func (k *Keys) Err() error {
	if k.parent != nil {
		return k.parent.Err()
	}
	return k.err
}

// fail keeps the first mistake, about a key.
func (k *Keys) fail(key string, kind usererr.Kind, hint, format string, args ...any) {
	if k.parent != nil {
		k.parent.fail(k.name, kind, hint, "%s", k.name+"."+fmt.Sprintf(format, args...))
		return
	}
	if k.err != nil {
		return
	}
	err := usererr.New(op, k.Path, "%w", fmt.Errorf(format, args...)).Of(kind)
	if k.Place != nil {
		err.Where = k.Place(key)
	}
	err.Hint = hint
	k.err = err
}

// Refuse keeps a mistake: the key's value is one that the program cannot do.
func (k *Keys) Refuse(key, hint string) {
	k.fail(key, usererr.Unsupported, hint, "%s is %s", key, show(k.Values[key]))
}

// RefuseAs is Refuse of a value that says of the model what it is, unless that is empty.
func (k *Keys) RefuseAs(key, what, hint string) {
	if what == "" {
		k.Refuse(key, hint)
		return
	}
	k.fail(key, usererr.Unsupported, hint, "%s is %s, which %s", key, show(k.Values[key]), what)
}

// show is a value as a file has it, cut where it is long.
func show(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	const most = 60
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}

// get is a key's value where it has one.
func (k *Keys) get(key string) (value any, ok bool) {
	if k.read == nil {
		k.read = map[string]bool{}
	}
	k.read[key] = true
	value = k.Values[key]
	return value, value != nil
}

func get[T any](k *Keys, key, wanted string, fallback T) T {
	value, ok := k.get(key)
	if !ok {
		return fallback
	}
	typed, ok := value.(T)
	if !ok {
		k.fail(key, usererr.Format, "", "%s is %s, %s was wanted", key, show(value), wanted)
		return fallback
	}
	return typed
}

// Default gives an absent key a value.
func (k *Keys) Default(key string, value any) {
	if _, there := k.Values[key]; !there {
		k.Values[key] = value
	}
}

// Defaults gives absent keys numbers.
func (k *Keys) Defaults(values map[string]float64) {
	for key, value := range values {
		k.Default(key, value)
	}
}

// Bool is a boolean value.
func (k *Keys) Bool(key string, fallback bool) bool { return get(k, key, "true or false", fallback) }

// Text is a string value.
func (k *Keys) Text(key, fallback string) string { return get(k, key, "a string", fallback) }

// Float is a number.
func (k *Keys) Float(key string, fallback float64) float64 { return get(k, key, "a number", fallback) }

// Int is a whole number.
func (k *Keys) Int(key string, fallback int) int {
	return k.whole(key, get(k, key, "a whole number", float64(fallback)), fallback)
}

// whole is a number that has to be whole.
func (k *Keys) whole(key string, x float64, fallback int) int {
	if x != math.Trunc(x) || math.Abs(x) > 1<<53 {
		k.fail(key, usererr.Format, "", "%s is %v, a whole number was wanted", key, x)
		return fallback
	}
	return int(x)
}

// Floats is a list of numbers, or one of them; nil where there is none.
func (k *Keys) Floats(key string) (list []float64) {
	value, ok := k.get(key)
	if !ok {
		return nil
	}
	values, many := value.([]any)
	if !many {
		values = []any{value}
	}
	for _, v := range values {
		x, ok := v.(float64)
		if !ok {
			k.fail(key, usererr.Format, "", "%s is %s, numbers were wanted", key, show(value))
			return nil
		}
		list = append(list, x)
	}
	return list
}

// Ints is Floats of whole numbers.
func (k *Keys) Ints(key string) (list []int) {
	for _, x := range k.Floats(key) {
		list = append(list, k.whole(key, x, 0))
	}
	return list
}

// size is a whole number from 1 to the limit, 1 where it is not.
func (k *Keys) size(key string, fallback, limit int) int {
	n := k.Int(key, fallback)
	if k.Values[key] == nil && fallback == 0 {
		k.fail(key, usererr.Format, "", "%s is missing, it must lie in 1 to %d", key, limit)
		return 1
	}
	if n < 1 || n > limit {
		k.fail(key, usererr.Format, "", "%s is %d, it must lie in 1 to %d", key, n, limit)
		return 1
	}
	return n
}

// Width is a dimension of tensors; it has no default.
func (k *Keys) Width(key string) int { return k.size(key, 0, maxDimension) }

// Count is a number of layers or heads, or the dimensions of a head; a fallback of 0 is none.
func (k *Keys) Count(key string, fallback int) int { return k.size(key, fallback, maxCount) }

// Positions is a length of contexts.
func (k *Keys) Positions(key string, fallback int) int { return k.size(key, fallback, maxPositions) }

// HeadDim is head_dim, or how many dimensions of the width each head has where there is none.
func (k *Keys) HeadDim(hidden, heads int) int {
	if k.Values["head_dim"] == nil && hidden%heads != 0 {
		k.fail("hidden_size", usererr.Format, "",
			"hidden_size %d is no multiple of num_attention_heads %d, and there is no head_dim", hidden, heads)
		return 2
	}
	return k.Count("head_dim", hidden/heads)
}

// SiLU is a key for the MLP's activation, of which there is one.
func (k *Keys) SiLU(key string) {
	if name := k.Text(key, "silu"); name != "silu" && name != "swish" {
		k.Refuse(key, "silu, also called swish, is known")
	}
}

// GELU is a key for the MLP's activation where that is GELU's tanh form.
func (k *Keys) GELU(key string) {
	if name := k.Text(key, "gelu_pytorch_tanh"); name != "gelu_pytorch_tanh" {
		k.Refuse(key, "gelu_pytorch_tanh is known")
	}
}

// Causal refuses attention that looks ahead.
func (k *Keys) Causal() {
	if k.Bool("use_bidirectional_attention", false) {
		k.Refuse("use_bidirectional_attention", "false is known")
	}
}

// Nested tells whether a key's object holds objects, one for each type of layers.
func (k *Keys) Nested(key string) bool {
	for _, value := range k.object(key).Values {
		if _, nested := value.(map[string]any); nested {
			return true
		}
	}
	return false
}

// Positive is a number above 0.
func (k *Keys) Positive(key string, fallback float64) float64 {
	if k.Values[key] == nil {
		k.get(key)
		return fallback
	}
	return k.positive(key)
}

// object is a value that has keys of its own; without any where it is absent.
func (k *Keys) object(key string) *Keys {
	values := get(k, key, "an object", map[string]any(nil))
	if o := k.objects[key]; o != nil {
		return o
	}
	if k.objects == nil {
		k.objects = map[string]*Keys{}
	}
	o := &Keys{Values: values, parent: k, name: key}
	k.objects[key] = o
	return o
}

// Inside is an object of the configuration as one of its own.
func (k *Keys) Inside(key string) *Keys {
	o := k.object(key)
	o.Path = k.Path
	return o
}

// Texts is a list of strings; nil where there is none.
func (k *Keys) Texts(key string) (list []string) {
	for _, v := range get(k, key, "a list of strings", []any(nil)) {
		text, ok := v.(string)
		if !ok {
			k.fail(key, usererr.Format, "", "%s holds %s, strings were wanted", key, show(v))
			return nil
		}
		list = append(list, text)
	}
	return list
}

// positive is a number above 0, 1 where it is not.
func (k *Keys) positive(key string) float64 {
	x := k.Float(key, 0)
	if k.Values[key] == nil {
		k.fail(key, usererr.Format, "", "%s is missing, it must be positive", key)
		return 1
	}
	if !(x > 0) || math.IsInf(x, 0) {
		k.fail(key, usererr.Format, "", "%s is %v, it must be positive", key, x)
		return 1
	}
	return x
}
