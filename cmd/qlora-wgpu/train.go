package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"qlora-wgpu/internal/bench"
	"qlora-wgpu/internal/runlock"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/trainer"
)

type trainCommand struct {
	Config trainer.Config  `embed:""`
	Random settings.Random `embed:""`
	File   configFile      `name:"config" help:"YAML file of settings: the same names with underscores. Flags override it." placeholder:"FILE"`
	DryRun bool            `name:"dry-run" help:"Print the settings as YAML and stop."`
}

// Run trains in a child process, or is that child.
func (t *trainCommand) Run(c *console) error {
	if err := t.Random.CheckTraining(t.Config); err != nil {
		return err
	}
	if t.DryRun {
		return t.print(c.stdout)
	}
	outliveReaders()
	if attached := os.Getenv(childVariable); attached != "" {
		c.context, c.terminal = followParent(c.stdin), attached == childOnTerminal
		fmt.Fprintf(c.stderr, "Training in process %d.\n", os.Getpid())
		return asChild(c, t.train(c, &teller{out: bare(c.stderr), every: time.Second}))
	}
	if t.Random.Arch == "" { // else nothing is written
		lock, err := runlock.Take(t.Config.OutputDir, func(message string) { fmt.Fprintln(c.stderr, "warning:", message) })
		if err != nil {
			return err
		}
		defer lock.Release()
	}
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start the training process: %w", err)
	}
	s := supervisor{
		console: c, executable: executable, args: c.args,
		outputDir: t.Config.OutputDir, overwrite: t.Config.Overwrite, resume: t.Config.ResumeFromCheckpoint,
		patience: usualPatience,
	}
	return s.run()
}

// print writes the settings as a file that --config reads.
func (t *trainCommand) print(w io.Writer) error {
	all := []any{t.Config}
	if t.Random.Arch != "" {
		all = append(all, t.Random)
	}
	for _, part := range all {
		text, err := yaml.MarshalWithOptions(part, yaml.CustomMarshaler(yamlText))
		if err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return nil
}

// yamlText writes a text as it stands where YAML reads the same text again, and quoted where not: the library leaves
// .inf, "? b" and tabs without quotes.
func yamlText(text string) ([]byte, error) {
	plain, err := yaml.Marshal(text)
	if err != nil {
		return nil, err
	}
	var again map[string]any
	unseen := strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
	if err := yaml.Unmarshal(append([]byte("text: "), plain...), &again); unseen || err != nil || again["text"] != text {
		return []byte(strconv.Quote(strings.ToValidUTF8(text, string(utf8.RuneError)))), nil
	}
	return plain, nil
}

// train turns a panic into an error: it is a bug, and starting again would only meet it again.
func (t *trainCommand) train(c *console, tell *teller) (err error) {
	defer func() {
		if bug := recover(); bug != nil {
			err = fmt.Errorf("internal error: %v\n%s", bug, debug.Stack())
		}
	}()
	r := newReporter(c, t.Config.LoggingSteps)
	emit := func(e trainer.Event) {
		tell.event(e)
		r.event(e)
	}
	if t.Random.Arch != "" {
		trained, err := bench.TrainShape(c.context, t.Random.Shape, t.Config, emit)
		r.end()
		if err != nil {
			return err
		}
		last := trained.Steps[len(trained.Steps)-1]
		fmt.Fprintf(c.stdout, "\nTrained %d steps on random weights and tokens, last loss %.4f.\n", last.Step, last.Loss)
		return nil
	}
	summary, err := trainer.Train(c.context, t.Config, emit)
	r.end()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "\nTrained %d steps, last loss %.4f. The adapter is in %s.\n", summary.Steps, summary.Loss, summary.AdapterDir)
	fmt.Fprintf(c.stdout, "Try it:\n  %s\n", tryIt(t.Config, summary.AdapterDir))
	return nil
}

// tryIt is a command that answers as the adapter was trained.
func tryIt(c trainer.Config, adapter string) string {
	command := fmt.Sprintf("qlora-wgpu generate --model %s --adapter %s", quote(c.Model), quote(adapter))
	if c.ChatTemplate != "" && c.ChatTemplate != settings.TrainingTemplate { // which is for training alone
		command += " --chat-template " + quote(c.ChatTemplate)
	}
	if c.TemplateArgs != "" {
		command += " --template-args " + quote(c.TemplateArgs)
	}
	if c.Quantize == settings.Unquantized {
		command += " --quantization " + c.Quantize
	}
	return command + ` --prompt "…"`
}

// asChild says the error and ends with the status that tells the parent what to do about it.
func asChild(c *console, err error) error {
	var mistake *usererr.Error
	status := statusFailure
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mistake):
		err, status = mistake, statusChildUserError
	case errors.Is(err, context.Canceled) && c.context.Err() != nil: // the parent has said it
		return exitStatus(statusInterrupted)
	case c.context.Err() != nil:
		status = statusInterrupted
	case errors.Is(err, trainer.ErrEngineFault):
		status = statusEngineFault
	}
	fmt.Fprintln(c.stderr, "error:", err)
	return exitStatus(status)
}
