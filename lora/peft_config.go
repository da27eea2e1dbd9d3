package lora

import (
	"encoding/json"
	"encoding/json/jsontext"
	jsonv2 "encoding/json/v2"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// peftConfig is adapter_config.json as it is written: the conservative subset that PEFT loads.
type peftConfig struct {
	AlphaPattern      patterns `json:"alpha_pattern"`
	BaseModel         *string  `json:"base_model_name_or_path"`
	Bias              string   `json:"bias"`
	FanInFanOut       bool     `json:"fan_in_fan_out"`
	InferenceMode     bool     `json:"inference_mode"`
	InitLoRAWeights   bool     `json:"init_lora_weights"`
	LayersPattern     any      `json:"layers_pattern"`
	LayersToTransform any      `json:"layers_to_transform"`
	Alpha             float64  `json:"lora_alpha"`
	Dropout           float64  `json:"lora_dropout"`
	ModulesToSave     any      `json:"modules_to_save"`
	PeftType          string   `json:"peft_type"`
	Rank              int      `json:"r"`
	RankPattern       patterns `json:"rank_pattern"`
	Revision          *string  `json:"revision"`
	Targets           any      `json:"target_modules"`
	TaskType          string   `json:"task_type"`
	UseDoRA           bool     `json:"use_dora"`
	UseRSLoRA         bool     `json:"use_rslora"`
}

// patterns is an object whose order counts.
type patterns []Pattern

// MarshalJSON keeps the order: the first key that names a linear counts.
func (p patterns) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, entry := range p {
		if i > 0 {
			out = append(out, ',')
		}
		key, err := json.Marshal(entry.Key)
		if err != nil {
			return nil, err
		}
		out = fmt.Appendf(append(out, key...), ":%v", entry.Value)
	}
	return append(out, '}'), nil
}

// WriteConfig writes adapter_config.json; an empty baseModel is null in it. Errors are w's.
func (c Config) WriteConfig(w io.Writer, baseModel string) error {
	out := peftConfig{
		AlphaPattern: c.AlphaPattern, Bias: "none", InferenceMode: true, InitLoRAWeights: true, Alpha: c.Alpha, Dropout: c.Dropout,
		PeftType: "LORA", Rank: c.Rank, RankPattern: c.RankPattern, Targets: c.Targets, TaskType: "CAUSAL_LM", UseRSLoRA: c.RSLoRA,
	}
	switch {
	case c.Within != "":
		out.Targets = c.expression()
	case c.allLinear():
		out.Targets = allLinear
	}
	if baseModel != "" {
		out.BaseModel = &baseModel
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}

// opConfig is what reads adapter_config.json, for messages.
const opConfig = "read adapter config"

// configKeys are the keys of an adapter_config.json; the first mistake is kept.
type configKeys struct {
	path   string
	values map[string]jsontext.Value
	err    error
}

func (k *configKeys) fail(kind usererr.Kind, hint, format string, args ...any) {
	if k.err == nil {
		err := usererr.New(opConfig, k.path, format, args...).Of(kind)
		err.Hint = hint
		k.err = err
	}
}

// shown is a key's value, cut where it is long.
func (k *configKeys) shown(name string) string {
	const most = 100
	text := string(k.values[name])
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// key is a key's value; the fallback where it is absent or null, and the mistake kept where it is of another type.
func key[T any](k *configKeys, name, wanted string, fallback T) T {
	value, there := k.values[name]
	if !there || value.Kind() == 'n' {
		return fallback
	}
	var out T
	if err := jsonv2.Unmarshal(value, &out); err != nil {
		k.fail(usererr.Format, "", "%s is %s, %s was wanted", name, k.shown(name), wanted)
		return fallback
	}
	return out
}

// off tells whether a value switches off what its key does: PEFT asks for nothing but its truth.
func off(value jsontext.Value) bool {
	return slices.Contains([]string{"null", "false", "[]", "{}", `""`, "0"}, string(value))
}

// modules reads target_modules or exclude_modules; without one it is absent.
func (k *configKeys) modules(name string, absent modules) modules {
	switch k.values[name].Kind() {
	case '"':
		return expression(key(k, name, "a string", ""))
	case '[':
		list := key(k, name, "a list of names", []string{})
		slices.Sort(list)
		return modules{list: list}
	case 0, 'n':
		return absent
	}
	k.fail(usererr.Format, "", "%s is %s, a list of names or a regular expression was wanted", name, k.shown(name))
	return absent
}

// selection reads which linears have an adapter.
func (k *configKeys) selection() selection {
	s := selection{target: k.modules("target_modules", modules{open: true}), exclude: k.modules("exclude_modules", modules{})}
	if k.values["layers_to_transform"].Kind() == '0' {
		s.layers = []int{key(k, "layers_to_transform", "a list of numbers", 0)}
	} else if s.layers = key(k, "layers_to_transform", "a list of numbers", []int(nil)); len(s.layers) == 0 {
		s.layers = nil
	}
	var names []string
	if k.values["layers_pattern"].Kind() == '"' {
		names = []string{key(k, "layers_pattern", "a string", "")}
	} else {
		names = key(k, "layers_pattern", "a list of names", []string(nil))
	}
	if names = slices.DeleteFunc(names, func(name string) bool { return name == "" }); len(names) == 0 {
		s.numbered = []*regexp.Regexp{anyLayer}
	}
	for _, name := range names {
		s.numbered = append(s.numbered, layerOf(name))
	}
	return s
}

// patterns reads rank_pattern or alpha_pattern in the order of the file.
func (k *configKeys) patterns(name string) (list []Pattern) {
	byKey := key(k, name, "an object of numbers", map[string]float64(nil))
	for _, key := range inOrder(k.values[name], byKey) {
		p, err := newPattern(key, byKey[key])
		if err != nil {
			k.fail(usererr.Unsupported, "name the linears without look-arounds, in full where need be", "%s has the key %q: %w", name, key, err)
			return nil
		}
		list = append(list, p)
	}
	return list
}

// inOrder lists the keys of an object as they stand in its text.
func inOrder[T any](object jsontext.Value, byKey map[string]T) (keys []string) {
	d := jsontext.NewDecoder(strings.NewReader(string(object)))
	for len(keys) < len(byKey) {
		token, err := d.ReadToken()
		if err != nil {
			return slices.Sorted(maps.Keys(byKey))
		}
		if _, read := d.StackIndex(d.StackDepth()); d.StackDepth() == 1 && read%2 == 1 {
			keys = append(keys, token.String())
		}
	}
	return keys
}

// checkUse refuses what changes the adapter and is not done.
func (k *configKeys) checkUse() {
	for _, name := range slices.Sorted(maps.Keys(k.values)) {
		if off(k.values[name]) {
			continue
		}
		i := slices.IndexFunc(peftKeys, func(known peftKey) bool { return known.name == name })
		switch {
		case i < 0:
			k.fail(usererr.Unsupported, "take the key out of the file if it changes nothing that the adapter computes; keys of PEFT 0.21 are known",
				"the key %q, with the value %s, is not known", name, k.shown(name))
		case peftKeys[i].use == refused:
			k.fail(usererr.Unsupported, peftKeys[i].hint, "%s is %s, which %s", name, k.shown(name), peftKeys[i].why)
		}
	}
}

// checkInit refuses an adapter for base weights that its initialization moved, and tells of one that trained in part.
func (k *configKeys) checkInit() (warnings []string) {
	const name = "init_lora_weights"
	switch k.values[name].Kind() {
	case 0, 'n', 't', 'f':
		return nil
	case '"':
		init := strings.ToLower(key(k, name, "a string", ""))
		if slices.ContainsFunc(movedBase, func(moved string) bool { return strings.HasPrefix(init, moved) }) {
			hint := "save it with PEFT's save_pretrained(…, path_initial_model_for_weight_conversion=…) as an adapter of the published weights"
			if init == "loftq" { // which that does not convert
				hint = merge
			}
			k.fail(usererr.Unsupported, hint, "%s is %s: the adapter belongs to base weights that its initialization changed", name, k.shown(name))
			return nil
		}
		if init == "mica" {
			warnings = append(warnings, "adapter_config.json has init_lora_weights mica, with which PEFT trains A alone: train would change B too.")
		}
		if slices.Contains(plainInit, init) {
			return warnings
		}
	}
	k.fail(usererr.Unsupported, "true, false, "+strings.Join(plainInit, ", ")+" are known", "%s is %s", name, k.shown(name))
	return nil
}

// ReadConfig reads adapter_config.json; path names it in errors. Which linears are adapted is for the tensors to say,
// see Read. Errors are *usererr.Error: Unsupported, by its name, what this program cannot train or apply, and Format
// for what is no JSON or has a value of another type or out of range.
func ReadConfig(data []byte, path string) (Config, error) {
	k := &configKeys{path: path}
	if err := jsonv2.Unmarshal(data, &k.values); err != nil {
		if k.values == nil && jsontext.Value(data).IsValid() {
			err = fmt.Errorf("an object was wanted")
		}
		return Config{}, usererr.New(opConfig, path, "%w", err).Of(usererr.Format)
	}
	for name, value := range k.values {
		if err := value.Compact(); err != nil {
			return Config{}, usererr.New(opConfig, path, "%w", err).Of(usererr.Format)
		}
		k.values[name] = value
	}
	if kind := key(k, "peft_type", "a string", ""); !strings.EqualFold(kind, "LORA") {
		k.fail(usererr.Unsupported, "LORA is known", "peft_type %q", kind)
	}
	if bias := key(k, "bias", "a string", "none"); bias != "none" && bias != "" {
		k.fail(usererr.Unsupported, merge, "bias is %q, which replaces biases of the base model", bias)
	}
	k.checkUse()
	warnings := k.checkInit()
	c := Config{
		Rank: key(k, "r", "a whole number", 8), Alpha: key(k, "lora_alpha", "a number", 8.0),
		Dropout: key(k, "lora_dropout", "a number", 0.0), RSLoRA: key(k, "use_rslora", "true or false", false),
		RankPattern: k.patterns("rank_pattern"), AlphaPattern: k.patterns("alpha_pattern"),
		loaded: &loaded{selection: k.selection(), warnings: warnings},
	}
	if k.values["base_model_name_or_path"].Kind() == '"' {
		c.loaded.base = key(k, "base_model_name_or_path", "a string", "")
	}
	if c.loaded.selection.target.all {
		c.Targets = []string{allLinear}
	} else {
		c.Targets = c.loaded.selection.target.list
	}
	switch {
	case c.Rank < 1 || c.Rank > maxRank:
		k.fail(usererr.Format, "", "r is %d, it must lie in 1 to %d", c.Rank, maxRank)
	case !scale(c.Alpha):
		k.fail(usererr.Format, "", "lora_alpha is %g, it must be positive, and a float32", c.Alpha)
	case !(c.Dropout >= 0 && c.Dropout < 1):
		k.fail(usererr.Format, "", "lora_dropout is %g, it must be at least 0 and below 1", c.Dropout)
	}
	for _, p := range c.RankPattern {
		if p.Value < 1 || p.Value > maxRank || p.Value != math.Trunc(p.Value) {
			k.fail(usererr.Format, "", "rank_pattern gives %q the rank %g, it must be a whole number in 1 to %d", p.Key, p.Value, maxRank)
		}
	}
	for _, p := range c.AlphaPattern {
		if !scale(p.Value) {
			k.fail(usererr.Format, "", "alpha_pattern gives %q the alpha %g, it must be positive, and a float32", p.Key, p.Value)
		}
	}
	return c, k.err
}

// maxRank is above any that a matrix of a model could have.
const maxRank = 65536

// scale tells whether an alpha can be: positive, also in float32, in which it is multiplied.
func scale(alpha float64) bool { return float32(alpha) > 0 && alpha <= math.MaxFloat32 }
