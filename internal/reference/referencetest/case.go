package referencetest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"qlora-wgpu/internal/reference"
)

// Case is a folder with QLoRA steps that PyTorch, PEFT and bitsandbytes computed.
type Case struct {
	Decoder   *reference.Decoder // with the adapter before the first step
	Quantized bool               // the base is NF4, not bfloat16
	AdamW     reference.AdamWSettings
	MaxNorm   float64
	Steps     [][]reference.Input  // micro-batches of a step
	Loss      []float64            // of each step, the mean over its targets
	GradNorm  []float64            // of each step, before clipping
	Logits    []float64            // [n, V] of the first micro-batch's first tokens
	Gradients map[string][]float64 // of the first step, under PEFT's names
	After     map[string][]float64 // the adapter after the last step
}

// Open reads a case; the errors are those of Decoder and of absent or damaged files.
func Open(dir string) (*Case, error) {
	var in struct {
		Rank         int        `json:"rank"`
		Alpha        float64    `json:"lora_alpha"`
		LearningRate float64    `json:"learning_rate"`
		Betas        [2]float64 `json:"betas"`
		Eps          float64    `json:"eps"`
		WeightDecay  float64    `json:"weight_decay"`
		MaxGradNorm  float64    `json:"max_grad_norm"`
		Steps        [][]struct {
			IDs    []uint32 `json:"input_ids"`
			Labels []int32  `json:"labels"`
		} `json:"steps"`
		Loss     []float64 `json:"loss"`
		GradNorm []float64 `json:"grad_norm_before_clip"`
		// Quantization is "none" where the base is not quantized.
		Quantization string `json:"quantization"`
	}
	data, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err == nil {
		err = json.Unmarshal(data, &in)
	}
	if err != nil {
		return nil, err
	}
	c := &Case{Quantized: in.Quantization != "none", MaxNorm: in.MaxGradNorm,
		Loss: in.Loss, GradNorm: in.GradNorm, AdamW: reference.AdamWSettings{
			LearningRate: in.LearningRate, Beta1: in.Betas[0], Beta2: in.Betas[1], Eps: in.Eps, WeightDecay: in.WeightDecay,
		}}
	for _, window := range in.Steps {
		var step []reference.Input
		for _, micro := range window {
			targets := append(micro.Labels[1:len(micro.Labels):len(micro.Labels)], -100) // each token predicts the next one
			step = append(step, reference.Segments([][]uint32{micro.IDs}, [][]int32{targets}))
		}
		c.Steps = append(c.Steps, step)
	}
	if c.Decoder, err = Decoder(filepath.Join(dir, "model"), c.Quantized); err != nil {
		return nil, err
	}
	if err := attach(c.Decoder, filepath.Join(dir, "init_adapter", "adapter_model.safetensors"), in.Rank, in.Alpha); err != nil {
		return nil, err
	}
	logits, err := wideTensors(filepath.Join(dir, "logits_step1.safetensors"))
	if err != nil {
		return nil, err
	}
	c.Logits = logits["logits"]
	if c.Gradients, err = wideTensors(filepath.Join(dir, "grads_step1.safetensors")); err != nil {
		return nil, err
	}
	c.After, err = wideTensors(filepath.Join(dir, "adapter_after.safetensors"))
	return c, err
}

// attach gives the decoder's linears the file's adapters, all of which must find theirs.
func attach(d *reference.Decoder, path string, rank int, alpha float64) error {
	adapter, err := wideTensors(path)
	if err != nil {
		return err
	}
	attached := 0
	for _, l := range d.Linears() {
		if a, b := adapter[Key(l, "A")], adapter[Key(l, "B")]; a != nil {
			l.Attach(rank, alpha/float64(rank), a, b)
			attached += 2
		}
	}
	if attached != len(adapter) {
		return fmt.Errorf("%s: %d of %d tensors belong to a linear", path, attached, len(adapter))
	}
	return nil
}

// Key is PEFT's name of a linear's A or B.
func Key(l *reference.Linear, matrix string) string {
	return fmt.Sprintf("base_model.model.%s.lora_%s.weight", l.Name, matrix)
}

func wideTensors(path string) (map[string][]float64, error) {
	tensors, err := Tensors(path)
	wide := map[string][]float64{}
	for name, t := range tensors {
		wide[name] = Wide(t.Values)
	}
	return wide, err
}
