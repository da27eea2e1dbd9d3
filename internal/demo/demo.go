// Package demo holds a tiny language model and a data set, embedded in the program, so that a fine-tuning run can be
// shown without any download (in the browser they lie beside the page). The model answers a question about a
// two-sentence story in plain words; the data set teaches it to answer like a pirate, with an opening that depends on
// the kind of question; the held-out prompts speak of people, things and places that the data set never mentions.
// tools/demo_model made all of it.
package demo

import (
	"bytes"
	"encoding/json"
	"fmt"

	"qlora-wgpu/internal/settings"
)

// Example is a prompt and the answer that a fine-tuned model gives to it, word for word.
type Example struct {
	Prompt, Answer string
}

// Hyperparameters are the settings of a run, under the names of its configuration.
type Hyperparameters struct {
	Rank                      int
	Alpha                     float64
	LearningRate              float64
	Steps                     int // optimizer updates
	BatchSize                 int // rows of a micro-batch
	GradientAccumulationSteps int
	MaxSeqLength              int // tokens; no row is cut
	WarmupRatio               float64
	Scheduler                 string
	MaxNewTokens              int // enough for every held-out answer
}

// Recipe is what tools/demo_model/simulate_qlora.py verified; its README has the figures.
var Recipe = Hyperparameters{
	Rank:  8,
	Alpha: 16,
	// A model this small takes a learning rate some forty times that of a large one.
	LearningRate: 8e-3,
	Steps:        75,
	// Eight rows are about 270 tokens.
	BatchSize:                 8,
	GradientAccumulationSteps: 1,
	MaxSeqLength:              64,
	WarmupRatio:               0.1,
	Scheduler:                 "linear",
	MaxNewTokens:              32,
}

// Set lays the recipe over a run's settings.
func (h Hyperparameters) Set(c *settings.Train) {
	c.LoraR, c.LoraAlpha = h.Rank, h.Alpha
	c.LearningRate, c.LRSchedulerType, c.WarmupRatio = h.LearningRate, h.Scheduler, h.WarmupRatio
	c.MaxSteps, c.BatchSize, c.GradientAccumulationSteps = h.Steps, h.BatchSize, h.GradientAccumulationSteps
	c.MaxSeqLength = h.MaxSeqLength
	// the activations of so small a model fit anywhere, and measuring takes longer than so short a run gains by it
	c.GradientCheckpointing, c.Autotune = settings.CheckpointOff, "off"
}

// ModelNames are the files of the model, a Hugging Face folder: configuration, tokenizer, chat template (in
// tokenizer_config.json) and BF16 weights.
var ModelNames = []string{"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}

// Examples reads the lines of a data set of this package. It panics on any other.
func Examples(name string, lines []byte) []Example {
	var examples []Example
	decoder := json.NewDecoder(bytes.NewReader(lines))
	for decoder.More() {
		var row struct {
			Messages []struct{ Role, Content string }
		}
		if err := decoder.Decode(&row); err != nil {
			panic(fmt.Sprintf("demo: embedded %s: %v", name, err))
		}
		if len(row.Messages) != 2 || row.Messages[0].Role != "user" || row.Messages[1].Role != "assistant" {
			panic(fmt.Sprintf("demo: embedded %s: row %d is not one user and one assistant turn", name, len(examples)+1))
		}
		examples = append(examples, Example{Prompt: row.Messages[0].Content, Answer: row.Messages[1].Content})
	}
	return examples
}
