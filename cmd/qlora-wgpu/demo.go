package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/files"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/trainer"
)

type demoCommand struct {
	OutputDir string       `name:"output-dir" default:"out-demo" help:"Folder for the model, the data set and the adapter."`
	GPU       settings.GPU `embed:""`
}

// noAutotune: measuring takes longer than so few answers gain by it.
const noAutotune = "off"

// maxDemoFile is more bytes than a file of the demo has.
const maxDemoFile = 16 << 20

// shown is how many prompts are printed with both answers; all are counted.
const shown = 5

// Run fine-tunes the embedded model and shows what that changed.
func (d *demoCommand) Run(c *console) error {
	config, err := d.unpack()
	if err != nil {
		return err
	}
	examples := demo.Heldout()
	fmt.Fprintf(c.stdout,
		"A model of a million weights answers questions about short stories. %d prompts that are not in the training data:\n", len(examples))
	report := newReporter(c, config.LoggingSteps)
	// the first use of a device checks it, which is worth saying
	before, err := d.answer(c, config.Model, "", examples, report.event)
	if err != nil {
		return err
	}
	summary, err := trainer.Train(c.context, config, report.event)
	report.end()
	if err != nil {
		return err
	}
	after, err := d.answer(c, config.Model, summary.AdapterDir, examples, func(trainer.Event) {})
	if err != nil {
		return err
	}
	for i, example := range examples[:min(shown, len(examples))] {
		fmt.Fprintf(c.stdout, "\n%s\n  before: %s\n  after:  %s\n  wanted: %s\n", example.Prompt, before[i], after[i], example.Answer)
	}
	fmt.Fprintf(c.stdout, "\nExactly the wanted answer: before %s, after %s\n", matches(before, examples), matches(after, examples))
	fmt.Fprintf(c.stdout, "The adapter is in %s. Try it:\n  qlora-wgpu generate --model %s --adapter %s --prompt %s\n",
		summary.AdapterDir, quote(config.Model), quote(summary.AdapterDir), quote(examples[len(examples)-1].Prompt))
	return nil
}

// unpack writes the embedded files where the other commands find them, and makes the run's settings of the recipe. It
// changes no file that is there, and replaces no run but one of an earlier demo.
func (d *demoCommand) unpack() (trainer.Config, error) {
	config := trainer.Defaults()
	config.Model = filepath.Join(d.OutputDir, "model")
	config.Data = filepath.Join(d.OutputDir, "train.jsonl")
	config.OutputDir = filepath.Join(d.OutputDir, "adapter")
	config.GPU = d.GPU
	demo.Recipe.Set(&config)
	config.LoggingSteps, config.SaveSteps = 5, 0
	config.Overwrite = true
	write := func(name string, content []byte) error {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		there, err := files.Read(name, maxDemoFile)
		if errors.Is(err, fs.ErrNotExist) {
			config.Overwrite = false
			there, err = content, checkpoint.WriteBytes(checkpoint.Files{}, name, content)
		}
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		if !bytes.Equal(there, content) {
			return usererr.New("demo", name, "the file is not the demo's").Hinted("remove the folder, or choose another --output-dir")
		}
		return nil
	}
	model := demo.ModelFiles()
	err := fs.WalkDir(model, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(model, path)
		if err != nil {
			return err
		}
		return write(filepath.Join(config.Model, filepath.FromSlash(path)), content)
	})
	if err == nil {
		err = write(config.Data, demo.Train())
	}
	return config, err
}

// answer loads the model once and answers all prompts.
func (d *demoCommand) answer(c *console, model, adapter string, examples []demo.Example, emit func(trainer.Event)) ([]string, error) {
	o := settings.Default[settings.Generate]()
	o.Model, o.Adapter, o.MaxTokens, o.GPU, o.Autotune = model, adapter, demo.Recipe.MaxNewTokens, d.GPU, noAutotune
	a, err := answer.Open(c.context, o.Inference, o.Sampling, emit)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	answers := make([]string, len(examples))
	for i, example := range examples {
		var text strings.Builder
		err := a.Answer(c.context, settings.Question{Prompt: example.Prompt}, func(piece string) error {
			text.WriteString(piece)
			return nil
		})
		if err != nil {
			return nil, err
		}
		answers[i] = strings.TrimSpace(text.String())
	}
	return answers, nil
}

func matches(answers []string, examples []demo.Example) string {
	exact := 0
	for i, answer := range answers {
		if answer == examples[i].Answer {
			exact++
		}
	}
	return fmt.Sprintf("%d of %d (%.0f %%)", exact, len(answers), 100*float64(exact)/float64(len(answers)))
}
