// Package demo holds a tiny language model and a data set, embedded in the program, so that a fine-tuning run can be
// shown without any download. The model answers a question about a two-sentence story in plain words; the data set
// teaches it to answer like a pirate, with an opening that depends on the kind of question; the held-out prompts speak
// of people, things and places that the data set never mentions. tools/demo_model made all of it.
package demo

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
)

//go:embed model train.jsonl heldout.jsonl
var files embed.FS

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

// ModelFiles is the model as a Hugging Face folder: config.json, tokenizer.json, tokenizer_config.json (with the chat
// template), generation_config.json and model.safetensors in BF16.
func ModelFiles() fs.FS {
	model, err := fs.Sub(files, "model")
	if err != nil {
		panic(fmt.Sprintf("demo: %v", err)) // "model" is a valid path
	}
	return model
}

// Train is the data set to fine-tune on: JSON Lines of messages, one user and one assistant turn each.
func Train() []byte { return read("train.jsonl") }

// Heldout are prompts to try before and after, none of which is in Train; kinds of question are mixed from the first on.
func Heldout() []Example { return parse("heldout.jsonl", read("heldout.jsonl")) }

func read(name string) []byte {
	data, err := files.ReadFile(name)
	if err != nil {
		panic(fmt.Sprintf("demo: %v", err)) // embedded at build time
	}
	return data
}

func parse(name string, lines []byte) []Example {
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
