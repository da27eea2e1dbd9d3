// Command qlora-wgpu fine-tunes language models with QLoRA on any WebGPU device. It turns flags into calls of package
// trainer and the trainer's events into lines; it computes nothing itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"qlora-wgpu/internal/usererr"
)

// Exit statuses.
const (
	statusFailure     = 1
	statusUserError   = 2
	statusInterrupted = 130
)

// exitStatus ends the program without a further message: whoever returns it has said what there was to say.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// console is what a command may use of the process it runs in.
type console struct {
	context    context.Context // ends with the first Ctrl-C
	interrupts *interrupts     // nil: nothing follows
	args       []string        // without the program's name
	stdin      io.Reader
	stdout     io.Writer // a printable where it is a terminal; what a pipe gets is exact
	stderr     io.Writer // always a printable
	terminal   bool      // somebody watches stderr
	screen     bool      // stdout and stderr are both the terminal
	lasting    *reporter // of what takes long; nil: nothing did
}

type commands struct {
	Train    trainCommand    `cmd:"" help:"Fine-tune a model: train a LoRA adapter over 4-bit weights."`
	Plan     planCommand     `cmd:"" help:"Where a run's memory would go, and what fits a budget; needs no GPU."`
	Generate generateCommand `cmd:"" help:"Answer a prompt."`
	Eval     evalCommand     `cmd:"" help:"Loss and perplexity on a data set."`
	Data     dataCommand     `cmd:"" help:"Look at a data set before an hour is spent on it, or write it anew."`
	Merge    mergeCommand    `cmd:"" help:"Add adapters to the weights of their model, and write the sum as a model."`
	Export   exportCommand   `cmd:"" help:"Write a model, with adapters added, as a GGUF file for llama.cpp and Ollama."`
	Quantize quantizeCommand `cmd:"" help:"Write a model in bitsandbytes' 4-bit NormalFloat, or as a GGUF file."`
	Pull     pullCommand     `cmd:"" help:"Fetch a model, an adapter or a data set of the Hugging Face hub into its cache."`
	Tokenize tokenizeCommand `cmd:"" help:"Token ids of texts and conversations, one JSON object a line."`
	Devices  devicesCommand  `cmd:"" help:"List the adapters that WebGPU offers."`
	Check    checkCommand    `cmd:"" help:"Compare every kernel with the CPU on a device."`
	Bench    benchCommand    `cmd:"" help:"Measure speed."`
	Shader   shaderCommand   `cmd:"" help:"Print a kernel's text, as the driver gets it."`
	Cache    cacheCommand    `cmd:"" help:"List or remove the quantized models that later starts would use."`
	Demo     demoCommand     `cmd:"" help:"Fine-tune a tiny embedded model, in about a minute and without a download."`
	Web      webCommand      `cmd:"" help:"Serve the page that fine-tunes in a browser tab."`
	Version  versionCommand  `cmd:"" help:"Which build this is: version, commit, Go, system."`
}

func main() {
	i := listen()
	terminal := term.IsTerminal(int(os.Stderr.Fd()))
	screen := term.IsTerminal(int(os.Stdout.Fd()))
	stdout := io.Writer(os.Stdout)
	if screen || os.Getenv(childVariable) != "" { // the parent passes on what a child says
		stdout = &printable{out: stdout}
	}
	os.Exit(run(&console{
		context: i.first, interrupts: i, args: os.Args[1:],
		stdin: os.Stdin, stdout: stdout, stderr: os.Stderr,
		terminal: terminal, screen: terminal && screen,
	}))
}

// run executes the command line of c and returns the exit status.
func run(c *console) int {
	c.stderr = &printable{out: c.stderr}
	parser, err := newParser(c)
	if err != nil {
		panic(err) // the flags themselves are declared wrongly
	}
	command, err := parser.Parse(c.args)
	if err != nil {
		err = parseError(err)
	} else {
		err = command.Run(c)
	}
	var status exitStatus
	var mistake *usererr.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &mistake):
		fmt.Fprintln(c.stderr, "error:", mistake)
		return statusUserError
	case c.context.Err() != nil:
		fmt.Fprintln(c.stderr, "interrupted")
		return statusInterrupted
	}
	fmt.Fprintln(c.stderr, "error:", err)
	return statusFailure
}

func newParser(c *console) (*kong.Kong, error) {
	return kong.New(new(commands),
		kong.Name("qlora-wgpu"),
		kong.Description("Fine-tune language models with QLoRA on any GPU, through WebGPU."),
		kong.Writers(c.stdout, c.stderr),
		kong.NamedMapper("checkpointing", checkpointingMapper{}),
		kong.NamedMapper("resume", kong.MapperFunc(decodeResume)),
		kong.NamedMapper("lines", kong.MapperFunc(decodeLines)),
	)
}
