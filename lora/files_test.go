package lora

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/optim"
)

// decoder is the linears of two layers, 64 wide.
func decoder() (all []*Linear) {
	for layer := range 2 {
		for _, module := range []string{"self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"} {
			all = append(all, &Linear{Name: fmt.Sprintf("model.layers.%d.%s", layer, module), In: 64, Out: 64, Index: len(all)})
		}
	}
	return all
}

// adapterOf reads an adapter of rank 4 with matrices on the linears that are named, all where none is.
func adapterOf(t *testing.T, keys string, linears ...string) (*Files, error) {
	t.Helper()
	if len(linears) == 0 {
		for _, l := range decoder() {
			linears = append(linears, l.Name)
		}
	}
	var tensors []Tensor
	for _, name := range linears {
		name, rank, other := strings.TrimSuffix(name, "@2"), 4, strings.HasSuffix(name, "@2")
		if other {
			rank = 2
		}
		values := bytes.Repeat([]byte{1}, 64*rank)
		floats := make([]float32, len(values))
		for i := range values {
			floats[i] = float32(i%7) + 1
		}
		l := &Linear{Name: name}
		tensors = append(tensors, Tensor{keyA(l), rank, 64, floats}, Tensor{keyB(l), 64, rank, floats})
	}
	return filesOf(t, keys, tensors)
}

func filesOf(t *testing.T, keys string, tensors []Tensor) (*Files, error) {
	t.Helper()
	var weights bytes.Buffer
	require.NoError(t, Config{}.WriteWeights(&weights, tensors))
	config := []byte(`{"peft_type":"LORA","r":4,"lora_alpha":8,` + keys + "}")
	return Read("dir", config, bytes.NewReader(weights.Bytes()), int64(weights.Len()))
}

// The tensors decide which linears are adapted; every form of target_modules that PEFT takes agrees with them.
func TestTargetsInEveryForm(t *testing.T) {
	const q, down, up = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj", "model.layers.1.self_attn.v_proj"
	for _, c := range []struct {
		keys    string
		linears []string
		targets []string // as they are written again
	}{
		{`"target_modules":["q_proj","v_proj","down_proj"]`, nil, []string{"all-linear"}},
		{`"target_modules":"all-linear"`, nil, []string{"all-linear"}},
		{`"target_modules":"All-Linear"`, nil, []string{"all-linear"}},
		{`"target_modules":".*\\.(self_attn|mlp)\\..*_proj"`, nil, []string{"all-linear"}},
		{`"target_modules":"^(?!.*visual).*_proj$"`, nil, []string{"all-linear"}}, // a look-ahead is left to the tensors
		{`"target_modules":null`, []string{q, down}, []string{q, down}},
		{`"x":null`, []string{q, down}, []string{q, down}},
		{`"target_modules":["` + q + `","layers.1.mlp.down_proj"]`, []string{q, down}, []string{q, down}},
		{`"target_modules":".*layers.0.*q_proj|.*1.mlp.*"`, []string{q, down}, []string{q, down}},
		{`"target_modules":["q_proj"],"layers_to_transform":0`, []string{q}, []string{q}},
		{`"target_modules":["q_proj"],"layers_to_transform":[0],"layers_pattern":"layers"`, []string{q}, []string{q}},
		{`"target_modules":["q_proj"],"exclude_modules":".*layers\\.1.*"`, []string{q}, []string{q}},
		{`"target_modules":["v_proj"],"exclude_modules":["layers.0.self_attn.v_proj"]`, []string{up}, []string{up}},
		{`"target_modules":["v_proj"]`, []string{"model.layers.0.self_attn.v_proj", up}, []string{"v_proj"}},
	} {
		f, err := adapterOf(t, c.keys, c.linears...)
		require.NoError(t, err, c.keys)
		all := decoder()
		a, err := Attach(gpu.NewDry(gpu.Options{}), all, f.Config, optim.Options{})
		require.NoError(t, err, c.keys)
		require.Empty(t, a.Warnings, c.keys)
		require.Equal(t, c.targets, a.Config.Targets, c.keys)
		adapted := 0
		for _, l := range all {
			if l.A != nil {
				adapted++
			}
		}
		require.Equal(t, len(f.Tensors)/2, adapted, c.keys)
		require.NoError(t, a.SetTensors(f.Tensors, f.Path), c.keys)

		var out bytes.Buffer // what is written names the same linears
		require.NoError(t, a.Config.WriteConfig(&out, ""))
		again, err := ReadConfig(out.Bytes(), "x")
		require.NoError(t, err)
		for _, l := range all {
			named, _ := again.loaded.selection.names(l.Name)
			require.Equal(t, l.A != nil, named, "%s: %s", c.keys, l.Name)
		}
	}
}

// Ranks and scales of linears with patterns of their own.
func TestPatternsChangeRankAndScale(t *testing.T) {
	const q0, q1, down = "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj", "model.layers.1.mlp.down_proj"
	keys := `"target_modules":["q_proj","layers.1.mlp.down_proj"],"rank_pattern":{"layers.1.self_attn.q_proj":2},` +
		`"alpha_pattern":{"^model.layers.1.mlp.*":32,"q_proj":3}`
	for rslora, scales := range map[string][3]float32{"false": {0.75, 1.5, 8}, "true": {1.5, 2.1213203, 16}} {
		f, err := adapterOf(t, keys+`,"use_rslora":`+rslora, q0, q1+"@2", down)
		require.NoError(t, err)
		all := decoder()
		a, err := Attach(gpu.NewDry(gpu.Options{}), all, f.Config, optim.Options{})
		require.NoError(t, err)
		require.Equal(t, scales, [3]float32{all[0].Scaling, all[3].Scaling, all[5].Scaling})
		require.Equal(t, []int{4, 2, 4}, []int{all[0].Rank, all[3].Rank, all[5].Rank})
		require.NoError(t, a.SetTensors(f.Tensors, f.Path))
		require.EqualValues(t, 128*(4+2+4), a.Parameters())
		require.Contains(t, a.Config.String(), "LoRA r=4 alpha=8 scaling=")
		require.Contains(t, a.Config.String(), ", others by rank_pattern and alpha_pattern, dropout=0 on ")
		tensors, err := a.Tensors(t.Context(), a.State.Param)
		require.NoError(t, err)
		require.Equal(t, []int{2, 64, 128}, []int{tensors[2].Rows, tensors[2].Cols, len(tensors[2].Values)})
	}
	f, err := adapterOf(t, keys, q0, q1, down)
	require.NoError(t, err)
	a, err := Attach(gpu.NewDry(gpu.Options{}), decoder(), f.Config, optim.Options{})
	require.NoError(t, err)
	require.EqualError(t, a.SetTensors(f.Tensors, f.Path), "load adapter dir: base_model.model."+q1+
		".lora_A.weight is 4×64, the model wants 2×64; 2 of 6 matrices do not fit, those of q_proj "+
		"(adapter_config.json gives this linear the rank 2)")
	for i, tensor := range f.Tensors { // of the other one the shape is right
		if strings.HasSuffix(tensor.Name, q1+".lora_B.weight") {
			f.Tensors[i].Cols, f.Tensors[i].Values = 2, tensor.Values[:2*tensor.Rows]
		}
	}
	require.EqualError(t, a.SetTensors(f.Tensors, f.Path), "load adapter dir: base_model.model."+q1+
		".lora_A.weight is 4×64, the model wants 2×64 (adapter_config.json gives this linear the rank 2)")
}

func TestTensorsThatDoNotFit(t *testing.T) {
	const q = "model.layers.0.self_attn.q_proj"
	values := make([]float32, 4*64)
	a := func(name string) Tensor { return Tensor{name, 4, 64, values} }
	for _, c := range []struct{ name, message string }{
		{"base_model.model.lm_head.lora_embedding_A", "(only linears can have an adapter, target_modules names an embedding: merge"},
		{"base_model.model." + q + ".lora_magnitude_vector", "(only LoRA matrices of linears can be loaded: merge the adapter"},
		{"base_model.model.lm_head.weight", "(only LoRA matrices of linears can be loaded: merge the adapter"},
		{"base_model.model." + q + ".lora_A.default.weight", "(names as PEFT's save_pretrained writes them were wanted: base_model.model.…"},
		{q + ".lora_A.weight", "(names as PEFT's save_pretrained writes them were wanted: base_model.model.…"},
	} {
		_, err := filesOf(t, `"target_modules":["q_proj"]`, []Tensor{a(c.name)})
		require.ErrorContains(t, err, "load adapter dir/adapter_model.safetensors: unsupported: tensor "+c.name+" of shape [4 64] "+c.message)
	}
	_, err := filesOf(t, `"target_modules":["q_proj"]`, []Tensor{a("base_model.model." + q + ".lora_A.weight")})
	require.EqualError(t, err, "load adapter dir: base_model.model."+q+".lora_B.weight is missing (the file is incomplete: fetch it anew)")
	_, err = filesOf(t, `"target_modules":["q_proj"]`, nil)
	require.ErrorContains(t, err, "load adapter dir/adapter_model.safetensors: it holds no matrices (")

	for _, c := range []struct{ keys, linear, message string }{
		{`"target_modules":["v_proj"]`, q, "load adapter dir: adapter_model.safetensors holds matrices of " + q +
			", which adapter_config.json does not name (mend target_modules, exclude_modules or layers_to_transform there: " +
			"PEFT would leave these matrices out)"},
		{`"target_modules":"q_proj"`, q, "which adapter_config.json does not name"},
		{`"target_modules":["q_proj"],"exclude_modules":["self_attn.q_proj"]`, q, "which adapter_config.json does not name"},
		{`"target_modules":["q_proj"],"layers_to_transform":[1]`, q, "which adapter_config.json does not name"},
		{`"target_modules":["q_proj"]`, "model.layers.7.self_attn.q_proj",
			"load adapter dir: base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight has no place in the model: its last layer is 1 " +
				"(the adapter belongs to another model)"},
		{`"target_modules":["q_proj"]`, "lm_head", "load adapter dir: unsupported: base_model.model.lm_head.lora_A.weight has no place in " +
			"the model (only linears of the layers can have an adapter, target_modules names another module: merge the adapter"},
		{`"target_modules":["q_proj"],"rank_pattern":{"layers.0.*":65}`, q,
			"load adapter dir: r is 65, " + q + " is 64×64 (a rank of at most 64)"},
	} {
		f, err := adapterOf(t, c.keys, c.linear)
		require.NoError(t, err)
		_, err = Attach(gpu.NewDry(gpu.Options{}), decoder(), f.Config, optim.Options{})
		require.ErrorContains(t, err, c.message, c.keys)
		require.NotContains(t, err.Error(), "lora_target_modules", "a setting that nobody gave")
	}
}

// An adapter of another family is told by what of it has no place: its modules, its layers, or where they stand.
func TestAnAdapterOfAnotherModelSaysWhatDoesNotFit(t *testing.T) {
	names := func(pattern string, layers ...int) (list []string) {
		for _, layer := range layers {
			list = append(list, fmt.Sprintf(pattern, layer))
		}
		return list
	}
	const q = "model.layers.%d.self_attn.q_proj"
	for _, c := range []struct {
		base    string
		linears []string
		message string
	}{
		{`"microsoft/Phi-4-mini"`,
			slices.Concat(names("model.layers.%d.self_attn.qkv_proj", 0, 1), names("model.layers.%d.mlp.gate_up_proj", 0), names(q, 0)),
			"3 of its 4 linears, model.layers.0.mlp.gate_up_proj, model.layers.0.self_attn.qkv_proj, model.layers.1.self_attn.qkv_proj, have no " +
				"place in the model: it has no gate_up_proj, qkv_proj, its linears are q_proj, v_proj, down_proj (the adapter belongs to another " +
				"model, by its adapter_config.json to microsoft/Phi-4-mini)"},
		{"null", names(q, 0, 1, 2, 3, 10, 11),
			"4 of its 6 linears, model.layers.2.self_attn.q_proj, model.layers.3.self_attn.q_proj, model.layers.10.self_attn.q_proj and 1 more, " +
				"have no place in the model: its last layer is 1 (the adapter belongs to another model)"},
		{`["odd"]`, names("model.layers.0.mlp.experts.%d.down_proj", 0, 1),
			"2 of its 2 linears, model.layers.0.mlp.experts.0.down_proj, model.layers.0.mlp.experts.1.down_proj, have no place in the model: " +
				"its linears have names such as model.layers.1.mlp.down_proj ("},
	} {
		f, err := adapterOf(t, `"target_modules":null,"base_model_name_or_path":`+c.base, c.linears...)
		require.NoError(t, err)
		require.Contains(t, []string{"microsoft/Phi-4-mini", ""}, f.Config.MadeFor())
		require.Equal(t, c.base == `"microsoft/Phi-4-mini"`, f.Config.MadeFor() != "")
		_, err = Attach(gpu.NewDry(gpu.Options{}), decoder(), f.Config, optim.Options{})
		require.ErrorContains(t, err, c.message)
	}
}

// A linear that the configuration names and the file has no matrices of stays as it is, as in PEFT, and is told.
func TestLinearsWithoutMatricesAreTold(t *testing.T) {
	f, err := adapterOf(t, `"target_modules":"all-linear"`, "model.layers.1.mlp.down_proj")
	require.NoError(t, err)
	a, err := Attach(gpu.NewDry(gpu.Options{}), decoder(), f.Config, optim.Options{})
	require.NoError(t, err)
	require.Equal(t, []string{"dir/adapter_config.json names 5 linears of which adapter_model.safetensors holds no matrices, they stay as " +
		"they are: model.layers.0.self_attn.q_proj, model.layers.0.self_attn.v_proj, model.layers.0.mlp.down_proj and 2 more."}, a.Warnings)
	require.NoError(t, a.SetTensors(f.Tensors, f.Path))
}

// A new adapter's targets are matched as PEFT matches a list.
func TestTargetsOfANewAdapter(t *testing.T) {
	for target, want := range map[string]int{
		"q_proj": 2, "self_attn.q_proj": 2, "layers.1.mlp.down_proj": 1, "model.layers.0.mlp.down_proj": 1,
	} {
		all := decoder()
		_, err := Attach(gpu.NewDry(gpu.Options{}), all, Config{Rank: 4, Alpha: 4, Targets: []string{target}}, optim.Options{})
		require.NoError(t, err)
		adapted := 0
		for _, l := range all {
			if l.A != nil {
				adapted++
			}
		}
		require.Equal(t, want, adapted, target)
	}
	_, err := Attach(gpu.NewDry(gpu.Options{}), decoder(), Config{Rank: 4, Alpha: 4, Targets: []string{"_proj"}}, optim.Options{})
	require.ErrorContains(t, err, `lora_target_modules has "_proj", the model has no such linear (it has q_proj, v_proj, down_proj)`)
}
