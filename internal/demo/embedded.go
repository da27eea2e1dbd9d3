//go:build !js

package demo

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed model train.jsonl heldout.jsonl
var files embed.FS

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

// Heldout are prompts to try before and after, none of which is in Train; kinds of question are mixed from the first
// on.
func Heldout() []Example { return Examples("heldout.jsonl", read("heldout.jsonl")) }

func read(name string) []byte {
	data, err := files.ReadFile(name)
	if err != nil {
		panic(fmt.Sprintf("demo: %v", err)) // embedded at build time
	}
	return data
}
