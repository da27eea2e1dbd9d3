package lora

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/safetensors"
)

// classes are the names of decoder's linears in the classes that hold a language model.
var classes = map[string]string{"": "model.", Wrapped: "model.language_model.", wrappedOnce: "language_model.model."}

// encoder are linears that only images go through, some with the last names of the language model's.
var encoder = []string{
	"model.vision_tower.encoder.layers.0.self_attn.q_proj", "model.vision_tower.transformer.layers.1.attention.q_proj",
	"model.vision_tower.transformer.layers.0.feed_forward.down_proj", "vision_tower.vision_model.encoder.layers.0.self_attn.v_proj",
	"model.multi_modal_projector.linear_1",
}

func TestAnAdapterHasTheNamesOfItsClassAndReadsBackFromEach(t *testing.T) {
	for within, prefix := range classes {
		c := Config{Rank: 4, Alpha: 8, Targets: []string{"q_proj", "layers.1.mlp.down_proj"}, Within: within}
		var config, weights bytes.Buffer
		require.NoError(t, c.WriteConfig(&config, "base"))
		named := []string{"layers.0.self_attn.q_proj", "layers.1.self_attn.q_proj", "layers.1.mlp.down_proj"}
		var tensors []Tensor
		for i, name := range named {
			l, values := &Linear{Name: "model." + name}, bytes.Repeat([]byte{byte(i + 1)}, 4*64)
			floats := make([]float32, len(values))
			for j, v := range values {
				floats[j] = float32(v)
			}
			tensors = append(tensors, Tensor{keyA(l), 4, 64, floats}, Tensor{keyB(l), 64, 4, floats})
		}
		require.NoError(t, c.WriteWeights(&weights, tensors))
		file, err := safetensors.Read(bytes.NewReader(weights.Bytes()), int64(weights.Len()), "x")
		require.NoError(t, err)
		for _, held := range file.Tensors() {
			require.Contains(t, held.Name, "base_model.model."+prefix+"layers.")
		}
		f, err := Read("dir", config.Bytes(), bytes.NewReader(weights.Bytes()), int64(weights.Len()))
		require.NoError(t, err)
		require.ElementsMatch(t, tensors, f.Tensors)
		require.Equal(t, within, f.Config.Within)
		a, err := Attach(gpu.NewDry(gpu.Options{}), decoder(), f.Config, optim.Options{})
		require.NoError(t, err)
		require.Len(t, a.linear, len(named))
		require.Empty(t, a.Warnings, "what the configuration names has matrices")
	}
}

// A list of last names, or all-linear, would give the encoder's linears an adapter too.
func TestTheTargetsOfAWrappedModelNameNothingOfItsEncoder(t *testing.T) {
	for target, want := range map[string]int{
		"all-linear": 6, "q_proj": 2, "mlp.down_proj": 2, "layers.1.mlp.down_proj": 1, "model.layers.0.self_attn.q_proj": 1,
		"model.language_model.layers.0.self_attn.v_proj": 1, "0.self_attn.v_proj": 1,
	} {
		c := Config{Rank: 1, Alpha: 1, Targets: []string{target}, Within: Wrapped}
		var out bytes.Buffer
		require.NoError(t, c.WriteConfig(&out, ""))
		var written struct {
			Targets string `json:"target_modules"`
		}
		require.NoError(t, json.Unmarshal(out.Bytes(), &written))
		match := regexp.MustCompile(`^(?:` + written.Targets + `)$`) // as PEFT matches
		for _, prefix := range classes {
			n := 0
			for _, l := range decoder() {
				name := prefix + strings.TrimPrefix(l.Name, "model.")
				require.Equal(t, c.adapts(l.Name), match.MatchString(name), "%s and %s", target, name)
				if match.MatchString(name) {
					n++
				}
			}
			require.Equal(t, want, n, target)
		}
		for _, name := range encoder {
			require.False(t, match.MatchString(name), "%s names %s", target, name)
		}
	}
}

// wrappedAdapter has matrices of all of decoder's linears under the names of a class, and of some that are not its own.
func wrappedAdapter(t *testing.T, prefix, keys string, others ...string) (*Files, error) {
	var tensors []Tensor
	names := others
	for _, l := range decoder() {
		names = append(names, prefix+strings.TrimPrefix(l.Name, "model."))
	}
	for _, name := range names {
		l := &Linear{Name: name}
		tensors = append(tensors, Tensor{keyA(l), 4, 64, make([]float32, 256)}, Tensor{keyB(l), 64, 4, make([]float32, 256)})
	}
	return filesOf(t, keys, tensors)
}

func TestMatricesOfWhatOnlyImagesGoThroughAreLeftOutAndCounted(t *testing.T) {
	f, err := wrappedAdapter(t, Wrapped, `"target_modules":"all-linear"`, encoder...)
	require.NoError(t, err)
	require.Len(t, f.Tensors, 12)
	a, err := Attach(gpu.NewDry(gpu.Options{}), decoder(), f.Config, optim.Options{})
	require.NoError(t, err)
	require.Equal(t, []string{"dir/adapter_model.safetensors: matrices of linears that only images go through are left out (10)."}, a.Warnings)
}

func TestPatternsAndTargetsGoByTheNamesOfTheAdaptersClass(t *testing.T) {
	keys := `"target_modules":"model.language_model.*","rank_pattern":{"model.language_model.layers.1.mlp.down_proj":%d,"model.layers.0.*":2}`
	f, err := wrappedAdapter(t, Wrapped, fmt.Sprintf(keys, 4))
	require.NoError(t, err)
	_, err = Attach(gpu.NewDry(gpu.Options{}), decoder(), f.Config, optim.Options{})
	require.NoError(t, err)
	require.Equal(t, 4, f.Config.rank("model.layers.1.mlp.down_proj"))
	require.Equal(t, 4, f.Config.rank("model.layers.0.mlp.down_proj"), "the key of another class")
	f, err = wrappedAdapter(t, Wrapped, fmt.Sprintf(keys, 3))
	require.NoError(t, err)
	require.Equal(t, 3, f.Config.rank("model.layers.1.mlp.down_proj"))
	f, err = wrappedAdapter(t, Wrapped, `"target_modules":"model\\.layers.*"`)
	require.NoError(t, err)
	_, err = Attach(gpu.NewDry(gpu.Options{}), decoder(), f.Config, optim.Options{})
	require.ErrorContains(t, err, "holds matrices of model.language_model.layers.0.self_attn.q_proj, which adapter_config.json does not name")
}

func TestAnAdapterOfTwoClassesIsRefused(t *testing.T) {
	_, err := wrappedAdapter(t, Wrapped, `"target_modules":"all-linear"`, "model.layers.0.self_attn.q_proj")
	require.ErrorContains(t, err, "has a name of another class than those before it")
	_, err = wrappedAdapter(t, "model.", `"target_modules":"all-linear"`, "language_model.model.layers.0.self_attn.q_proj")
	require.ErrorContains(t, err, "has a name of another class than those before it")
}
