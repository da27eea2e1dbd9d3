package lora

import (
	"encoding/json"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
)

// The files of a PEFT adapter.
const (
	ConfigFile  = "adapter_config.json"
	WeightsFile = "adapter_model.safetensors"
)

// peftConfig is adapter_config.json: the conservative subset that PEFT loads.
type peftConfig struct {
	AlphaPattern      map[string]any `json:"alpha_pattern"`
	BaseModel         *string        `json:"base_model_name_or_path"`
	Bias              string         `json:"bias"`
	FanInFanOut       bool           `json:"fan_in_fan_out"`
	InferenceMode     bool           `json:"inference_mode"`
	InitLoRAWeights   any            `json:"init_lora_weights"`
	LayersPattern     any            `json:"layers_pattern"`
	LayersToTransform any            `json:"layers_to_transform"`
	Alpha             float64        `json:"lora_alpha"`
	Dropout           float64        `json:"lora_dropout"`
	ModulesToSave     any            `json:"modules_to_save"`
	PeftType          string         `json:"peft_type"`
	Rank              int            `json:"r"`
	RankPattern       map[string]any `json:"rank_pattern"`
	Revision          *string        `json:"revision"`
	Targets           any            `json:"target_modules"`
	TaskType          string         `json:"task_type"`
	UseDoRA           bool           `json:"use_dora"`
	UseRSLoRA         bool           `json:"use_rslora"`
}

// WriteConfig writes adapter_config.json; an empty baseModel is null in it. Errors are w's.
func (c Config) WriteConfig(w io.Writer, baseModel string) error {
	out := peftConfig{
		AlphaPattern: map[string]any{}, Bias: "none", InferenceMode: true, InitLoRAWeights: true, Alpha: c.Alpha, Dropout: c.Dropout,
		PeftType: "LORA", Rank: c.Rank, RankPattern: map[string]any{}, Targets: c.Targets, TaskType: "CAUSAL_LM", UseRSLoRA: c.RSLoRA,
	}
	if len(c.Targets) == 1 && c.Targets[0] == "all-linear" {
		out.Targets = "all-linear"
	}
	if baseModel != "" {
		out.BaseModel = &baseModel
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}

// ReadConfig reads adapter_config.json; path names it in errors. Errors are *usererr.Error: Unsupported, by its name,
// what this program cannot train or apply, and Format for what is no JSON or has a value out of range.
func ReadConfig(data []byte, path string) (Config, error) {
	var in peftConfig
	if err := json.Unmarshal(data, &in); err != nil {
		return Config{}, usererr.New("read adapter config", path, "%w", err).Of(usererr.Format)
	}
	fail := func(format string, args ...any) (Config, error) {
		return Config{}, usererr.New("read adapter config", path, format, args...).Of(usererr.Unsupported)
	}
	switch {
	case !strings.EqualFold(in.PeftType, "LORA"):
		return fail("peft_type %q", in.PeftType)
	case in.UseDoRA:
		return fail("use_dora")
	case in.FanInFanOut:
		return fail("fan_in_fan_out")
	case in.Bias != "" && in.Bias != "none":
		return fail("bias %q", in.Bias)
	case len(in.RankPattern) > 0 || len(in.AlphaPattern) > 0:
		return fail("rank_pattern or alpha_pattern")
	case in.LayersToTransform != nil || in.ModulesToSave != nil:
		return fail("layers_to_transform or modules_to_save")
	}
	c := Config{Rank: in.Rank, Alpha: in.Alpha, Dropout: in.Dropout, RSLoRA: in.UseRSLoRA}
	switch targets := in.Targets.(type) {
	case string:
		c.Targets = []string{targets}
	case []any:
		for _, t := range targets {
			name, ok := t.(string)
			if !ok {
				return fail("target_modules holds %v", t)
			}
			c.Targets = append(c.Targets, name)
		}
		slices.Sort(c.Targets)
	}
	invalid := usererr.New("read adapter config", path, "r %d, lora_alpha %g, target_modules %v", in.Rank, in.Alpha, in.Targets).
		Of(usererr.Format)
	if c.Rank < 1 || c.Rank > 65536 || !(c.Alpha > 0) || math.IsInf(c.Alpha, 0) || len(c.Targets) == 0 || !(c.Dropout >= 0 && c.Dropout < 1) {
		return Config{}, invalid
	}
	return c, nil
}

// WriteWeights writes adapter_model.safetensors, in float32, tensors sorted by name. Errors are w's.
func WriteWeights(w io.Writer, tensors []Tensor) error {
	byName := map[string]Tensor{}
	for _, t := range tensors {
		byName[t.Name] = t
	}
	var data []safetensors.Data
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		t := byName[name]
		data = append(data, safetensors.Data{
			Name: name, DType: safetensors.F32, Shape: []int{t.Rows, t.Cols}, Bytes: safetensors.Float32Bytes(t.Values),
		})
	}
	return safetensors.Write(w, map[string]string{"format": "pt"}, data)
}

// ReadWeights reads adapter_model.safetensors, of size bytes; path names it in errors. Errors are *usererr.Error:
// Format for a damaged file, Unsupported for a tensor that is no LoRA matrix [rows, columns].
func ReadWeights(r io.ReaderAt, size int64, path string) (out []Tensor, err error) {
	f, err := safetensors.Read(r, size, path)
	if err != nil {
		return nil, err
	}
	for _, t := range f.Tensors() {
		if len(t.Shape) != 2 || !strings.Contains(t.Name, ".lora_") {
			return nil, usererr.New("load adapter", path, "tensor %s of shape %v", t.Name, t.Shape).Of(usererr.Unsupported).
				Hinted("only LoRA matrices can be loaded")
		}
		values := make([]float32, t.Elements())
		if err := f.ReadFloat32(t, values, 0); err != nil {
			return nil, err
		}
		out = append(out, Tensor{Name: t.Name, Rows: t.Shape[0], Cols: t.Shape[1], Values: values})
	}
	return out, nil
}
