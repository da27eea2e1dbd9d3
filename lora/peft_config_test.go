package lora

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

// fromPEFT is what tools/peft_test/lora_config.py wrote.
type fromPEFT struct {
	Keys       map[string]any
	Modules    []string
	Selections []struct {
		Config json.RawMessage
		Named  []string
	}
	Patterns []struct {
		Pattern string
		Values  []float64
	}
}

func readPEFT(t *testing.T) (p fromPEFT) {
	t.Helper()
	data, err := os.ReadFile("testdata/peft_lora_config.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &p))
	require.Greater(t, len(p.Keys), 40)
	return p
}

// The table says of every key that PEFT writes what is done with it, and a configuration of PEFT's defaults loads.
func TestEveryKeyOfPEFTIsKnown(t *testing.T) {
	p := readPEFT(t)
	var names []string
	for _, key := range peftKeys {
		names = append(names, key.name)
		require.NotEmpty(t, key.why, key.name)
		require.Equal(t, key.use == refused, key.hint != "", key.name)
	}
	require.IsIncreasing(t, names)
	for name := range p.Keys {
		require.Contains(t, names, name)
	}
	for _, name := range names {
		if _, there := p.Keys[name]; !there {
			require.Contains(t, []string{"enable_lora", "merge_weights", "runtime_config"}, name, "PEFT no longer has it")
		}
	}
	text, err := json.Marshal(p.Keys)
	require.NoError(t, err)
	c, err := ReadConfig(text, "x")
	require.NoError(t, err)
	require.Empty(t, c.loaded.warnings)
	require.Equal(t, 8, c.Rank)
	require.EqualValues(t, 8, c.Alpha)

	guide, err := os.ReadFile("../docs/adapters.md")
	require.NoError(t, err)
	for _, name := range names {
		require.Contains(t, string(guide), "`"+name+"`")
	}
}

// Which linears a configuration names, and which pattern counts for one, is what PEFT's own functions say.
func TestModulesAreNamedAsInPEFT(t *testing.T) {
	p := readPEFT(t)
	for _, c := range p.Selections {
		config, err := ReadConfig(append([]byte(`{"peft_type":"LORA",`), c.Config[1:]...), "x")
		require.NoError(t, err, string(c.Config))
		named := []string{}
		for _, module := range p.Modules {
			is, known := config.loaded.selection.names(module)
			require.True(t, known)
			if is {
				named = append(named, module)
			}
		}
		require.Equal(t, c.Named, named, string(c.Config))
	}
	for _, c := range p.Patterns {
		text := fmt.Sprintf(`{"peft_type":"LORA","r":1,"lora_alpha":1,"rank_pattern":%s,"alpha_pattern":%[1]s}`, c.Pattern)
		config, err := ReadConfig([]byte(text), "x")
		require.NoError(t, err, c.Pattern)
		var ranks, alphas []float64
		for _, module := range p.Modules {
			ranks = append(ranks, float64(config.rank(module)))
			alphas = append(alphas, valueFor(config.AlphaPattern, module, 1))
		}
		require.Equal(t, c.Values, ranks, c.Pattern)
		require.Equal(t, c.Values, alphas, c.Pattern)
	}
	require.Greater(t, len(p.Selections), 15)
	require.Greater(t, len(p.Patterns), 5)
}

// with is a configuration of a plain adapter with other keys.
func with(keys string) []byte {
	return []byte(`{"peft_type":"LORA","r":4,"lora_alpha":4,"target_modules":["q_proj"],` + keys + "}")
}

func TestConfigsThatAreRefused(t *testing.T) {
	const conversion = "save it with PEFT's save_pretrained(…, path_initial_model_for_weight_conversion=…) as an adapter " +
		"of the published weights"
	for keys, message := range map[string]string{
		`"init_lora_weights":"pissa"`: `unsupported: init_lora_weights is "pissa": the adapter belongs to base weights that its initialization ` +
			`changed (` + conversion + `)`,
		`"init_lora_weights":"pissa_niter_16"`: `unsupported: init_lora_weights is "pissa_niter_16": the adapter belongs to`,
		`"init_lora_weights":"OLoRA"`:          `unsupported: init_lora_weights is "OLoRA": the adapter belongs to`,
		`"init_lora_weights":"corda"`:          `unsupported: init_lora_weights is "corda": the adapter belongs to`,
		`"init_lora_weights":"loftq"`: `unsupported: init_lora_weights is "loftq": the adapter belongs to base weights that its initialization ` +
			`changed (` + merge,
		`"init_lora_weights":"lora_ga"`: `unsupported: init_lora_weights is "lora_ga": the adapter belongs to`,
		`"init_lora_weights":"new"`:     `unsupported: init_lora_weights is "new" (true, false, gaussian, eva, orthogonal, mica are `,
		`"init_lora_weights":3`:         `unsupported: init_lora_weights is 3 (`,
		"\"alora_invocation_tokens\":[\n4,\t5]": "unsupported: alora_invocation_tokens is [4,5], which applies the adapter only behind these " +
			"tokens (adapters of Activated LoRA cannot be merged)",
		`"layer_replication":[[0,4],[2,5]]`: "unsupported: layer_replication is [[0,4],[2,5]], which builds a model with repeated layers (" +
			merge + ")",
		`"trainable_token_indices":[0]`:      "unsupported: trainable_token_indices is [0], which",
		`"trainable_token_indices":{"e":[]}`: `unsupported: trainable_token_indices is {"e":[]}, which`,
		`"modules_to_save":["lm_head"]`: `unsupported: modules_to_save is ["lm_head"], which replaces whole modules of the base model (` +
			merge + ")",
		`"target_parameters":["a.b"]`:           `unsupported: target_parameters is ["a.b"], which`,
		`"use_dora":true`:                       "unsupported: use_dora is true, which",
		`"use_qalora":true`:                     "unsupported: use_qalora is true, which",
		`"lora_bias":true`:                      "unsupported: lora_bias is true, which",
		`"use_bdlora":{"nblocks":2}`:            "unsupported: use_bdlora is {",
		`"kasa_config":{"beta":0.1}`:            "unsupported: kasa_config is {",
		`"arrow_config":{"top_k":3}`:            "unsupported: arrow_config is {",
		`"monteclora_config":{"num_samples":8}`: "unsupported: monteclora_config is {",
		`"velora_config":{"num_groups":64}`:     "unsupported: velora_config is {",
		`"enable_lora":[true,false,true]`:       "unsupported: enable_lora is [true,false,true], which",
		`"bias":"all"`:                          `unsupported: bias is "all", which replaces biases of the base model (` + merge + ")",
		`"bias":"lora_only"`:                    `unsupported: bias is "lora_only", which`,
		`"hyper":{"a":1}`: `unsupported: the key "hyper", with the value {"a":1}, is not known (take the key out of the file if it changes ` +
			`nothing that the adapter computes; keys of PEFT 0.21 are known)`,
		`"hyper":"` + strings.Repeat("ü", 80) + `"`: `unsupported: the key "hyper", with the value "üü`,
		`"rank_pattern":{"(?=q)q_proj":2}`:          `unsupported: rank_pattern has the key "(?=q)q_proj": error parsing regexp`,
		`"alpha_pattern":{"q{,2}_proj":2}`:          `unsupported: alpha_pattern has the key "q{,2}_proj": a repetition {,n} has to be written `,
		`"alpha_pattern":{"a)|(b":2}`:               `unsupported: alpha_pattern has the key "a)|(b": error parsing regexp`,
		`"alpha_pattern":{"q_proj":-1}`:             `bad format: alpha_pattern gives "q_proj" the alpha -1`,
		`"rank_pattern":{"q_proj":2.5}`:             `bad format: rank_pattern gives "q_proj" the rank 2.5`,
		`"rank_pattern":{"q_proj":0}`:               `bad format: rank_pattern gives "q_proj" the rank 0`,
		`"rank_pattern":{"q_proj":"a"}`:             `bad format: rank_pattern is {"q_proj":"a"}, an object of numbers was wanted`,
		`"exclude_modules":7`:                       `bad format: exclude_modules is 7, a list of names or a regular expression was wanted`,
		`"exclude_modules":[7]`:                     `bad format: exclude_modules is [7], a list of names was wanted`,
		`"layers_to_transform":["a"]`:               `bad format: layers_to_transform is ["a"], a list of numbers was wanted`,
		`"layers_pattern":[1]`:                      `bad format: layers_pattern is [1], a list of names was wanted`,
		`"use_rslora":"yes"`:                        `bad format: use_rslora is "yes", true or false was wanted`,
		`"lora_dropout":1`:                          `bad format: lora_dropout is 1, it must be at least 0 and below 1`,
	} {
		_, err := ReadConfig(with(keys), "x.json")
		require.ErrorContains(t, err, "read adapter config x.json: "+message)
		require.IsType(t, &usererr.Error{}, err)
	}
	for text, message := range map[string]string{
		`{"peft_type":"LORA","r":0}`:             "bad format: r is 0, it must lie in 1 to 65536",
		`{"peft_type":"LORA","lora_alpha":0}`:    "bad format: lora_alpha is 0, it must be positive",
		`{"peft_type":"LORA","lora_alpha":1e39}`: "bad format: lora_alpha is 1e+39, it must be positive",
		`{"peft_type":"LORA","r":"a"}`:           `bad format: r is "a", a whole number was wanted`,
		`{"peft_type":"IA3"}`:                    `unsupported: peft_type "IA3" (LORA is known)`,
		`{"r":4}`:                                `unsupported: peft_type "" (LORA is known)`,
		`[]`:                                     "bad format: an object was wanted",
		`{"r":4`:                                 "bad format: no valid JSON after 6 bytes: it ends too soon",
	} {
		_, err := ReadConfig([]byte(text), "x.json")
		require.ErrorContains(t, err, "read adapter config x.json: "+message)
		require.NotContains(t, err.Error(), "map[string]")
	}
}

// What is off, and what changes nothing that an adapter computes, does not keep one from loading.
func TestConfigsThatLoad(t *testing.T) {
	for keys, warning := range map[string]string{
		`"init_lora_weights":true`: "", `"init_lora_weights":false`: "", `"init_lora_weights":null`: "", `"init_lora_weights":"Gaussian"`: "",
		`"init_lora_weights":"eva","eva_config":{"rho":2.0}`: "", `"init_lora_weights":"orthogonal"`: "",
		`"init_lora_weights":"mica"`: "adapter_config.json has init_lora_weights mica, with which PEFT trains A alone: train would change B too.",
		`"fan_in_fan_out":true`:      "", `"megatron_config":{"a":1},"megatron_core":"megatron.core"`: "", `"loftq_config":{"loftq_bits":4}`: "",
		`"corda_config":{"verbose":true}`: "", `"qalora_group_size":32`: "", `"auto_mapping":{"base_model_class":"X","unsloth_fixed":true}`: "",
		`"task_type":"SEQ_CLS"`: "", `"peft_version":"0.99.0"`: "", `"ensure_weight_tying":true`: "", `"merge_weights":true`: "",
		`"alora_invocation_tokens":[ ]`: "", `"modules_to_save":[]`: "", `"layer_replication":null`: "", `"bias":null`: "",
		`"hyper":null,"other":false,"third":[],"fourth":{},"fifth":""`: "",
	} {
		c, err := ReadConfig(with(keys), "x.json")
		require.NoError(t, err, keys)
		require.Equal(t, warning, strings.Join(c.loaded.warnings, "|"), keys)
		require.Equal(t, []string{"q_proj"}, c.Targets)
	}
}

func TestConfigRoundTrip(t *testing.T) {
	pattern := func(key string, value float64) Pattern {
		p, err := newPattern(key, value)
		require.NoError(t, err)
		return p
	}
	for _, c := range []Config{
		{Rank: 8, Alpha: 16, Targets: []string{"all-linear"}},
		{Rank: 5, Alpha: 2.5, RSLoRA: true, Dropout: 0.1, Targets: []string{"q_proj", "v_proj"}},
		{
			Rank: 5, Alpha: 2.5, Targets: []string{"layers.1.mlp.up_proj"},
			RankPattern:  []Pattern{pattern("up_proj", 3), pattern(`a"\.\d`, 1)},
			AlphaPattern: []Pattern{pattern("z", 0.5), pattern("<a>", 1e30)},
		},
	} {
		var out bytes.Buffer
		require.NoError(t, c.WriteConfig(&out, "base"))
		got, err := ReadConfig(out.Bytes(), "adapter_config.json")
		require.NoError(t, err)
		got.loaded = nil
		require.Equal(t, c, got)
	}
	var out bytes.Buffer
	require.NoError(t, Config{Rank: 1, Alpha: 1}.WriteConfig(&out, ""))
	require.Contains(t, out.String(), `"rank_pattern": {},`)
}

// The first key of a pattern that names a linear counts: the order of the file stays.
func TestPatternsKeepTheirOrder(t *testing.T) {
	c, err := ReadConfig(with(`"rank_pattern":{"z":1,"b\u0061":2,"a":3}`), "x")
	require.NoError(t, err)
	var keys []string
	for _, p := range c.RankPattern {
		keys = append(keys, p.Key)
	}
	require.True(t, slices.Equal([]string{"z", "ba", "a"}, keys), keys)
}
