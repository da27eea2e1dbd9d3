package main

import (
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"

	"github.com/schollz/progressbar/v3"

	"qlora-wgpu/internal/events"
	"qlora-wgpu/trainer"
)

// reporter prints a run's events: on stdout the lines that people grep, in the form of Hugging Face's Trainer; on
// stderr warnings, and a progress bar where somebody watches.
type reporter struct {
	console      *console
	loggingSteps int
	bar          *progressbar.ProgressBar // of the steps
	before       *progressbar.ProgressBar // of what comes before the first step
	kind         string                   // of before
	losses       []float64                // since the last line
}

func newReporter(c *console, loggingSteps int) *reporter {
	return &reporter{console: c, loggingSteps: loggingSteps}
}

func (r *reporter) event(e trainer.Event) {
	switch e := e.(type) {
	case trainer.StepStats:
		r.step(e)
	case trainer.EvalStats:
		r.print("{'eval_loss': %s, 'eval_ppl': %s, 'step': %d}", number(e.Loss, 4), number(e.Perplexity, 4), e.Step)
	case trainer.Warning:
		r.hideBar()
		r.console.warn(e.String())
	case events.Progress:
		r.progress(e)
	default:
		if said := e.String(); said != "" {
			r.print("%s", said)
		}
	}
}

// progress shows how far something is, beside the steps or in a bar of its own before them.
func (r *reporter) progress(e events.Progress) {
	if !r.console.terminal {
		return
	}
	if r.bar != nil {
		r.bar.Describe(e.String())
		return
	}
	done, total := e.Progress()
	if r.before == nil || r.kind != e.Kind() || r.before.GetMax64() != total {
		r.hideBar()
		r.kind = e.Kind()
		r.before = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(bare(r.console.stderr)),
			progressbar.OptionSetWidth(20),
			progressbar.OptionSetPredictTime(false))
	}
	r.before.Describe(e.String())
	_ = r.before.Set64(done) // as below
	if done == total {
		r.hideBar()
	}
}

// step prints the mean loss of the steps since the last line, as the Trainer does.
func (r *reporter) step(s trainer.StepStats) {
	r.losses = append(r.losses, s.Loss)
	if s.Step%r.loggingSteps == 0 || s.Step == s.MaxSteps {
		sum := 0.0
		for _, loss := range r.losses {
			sum += loss
		}
		r.print("{'loss': %s, 'grad_norm': %s, 'learning_rate': %s, 'epoch': %s}",
			number(sum/float64(len(r.losses)), 4), number(s.GradNorm, 4), number(s.LearningRate, -1), number(s.Epoch, 2))
		r.losses = r.losses[:0]
	}
	if !r.console.terminal {
		return
	}
	if r.bar == nil {
		r.hideBar()
		r.bar = progressbar.NewOptions(s.MaxSteps,
			progressbar.OptionSetWriter(bare(r.console.stderr)),
			progressbar.OptionShowCount(),
			progressbar.OptionSetWidth(20),
			progressbar.OptionSetPredictTime(true))
	}
	paged := ""
	if s.PageIns > 0 {
		paged = fmt.Sprintf(", %d pages in, %.0f ms stalled", s.PageIns, s.StallMS)
	}
	r.bar.Describe(fmt.Sprintf("loss %.4f, %.0f tokens/s, %.1f GB%s", s.Loss, s.TokensPerSecond, float64(s.DeviceBytes)/1e9, paged))
	_ = r.bar.Set(s.Step) // a terminal that cannot be written to is no reason to stop
}

func (r *reporter) print(format string, args ...any) {
	r.hideBar()
	fmt.Fprintf(r.console.stdout, format+"\n", args...)
}

func (r *reporter) hideBar() {
	for _, bar := range []*progressbar.ProgressBar{r.bar, r.before} {
		if bar != nil {
			_ = bar.Clear()
		}
	}
	r.before = nil
}

// end leaves the bar's last state on a line of its own.
func (r *reporter) end() {
	if r.bar != nil {
		fmt.Fprintln(r.console.stderr)
	} else {
		r.hideBar()
	}
}

// number writes a float as Python does, rounded to so many decimals (-1: none are dropped).
func number(x float64, decimals int) string {
	switch {
	case math.IsNaN(x):
		return "nan"
	case math.IsInf(x, 0):
		return strings.Replace(strings.ToLower(strconv.FormatFloat(x, 'g', -1, 64)), "+", "", 1)
	}
	if decimals >= 0 {
		scale := math.Pow(10, float64(decimals))
		x = math.Round(x*scale) / scale
	}
	text := strconv.FormatFloat(x, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

// quote makes a path or a prompt safe to paste into a shell of this system.
func quote(text string) string { return quoteFor(runtime.GOOS, text) }

func quoteFor(system, text string) string {
	switch {
	case system == "windows" && strings.ContainsAny(text, " '\"$&;()<>|^=,*?[]{}#~`!%@"): // cmd.exe knows no other quotes
		return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"`
	case system != "windows" && strings.ContainsAny(text, " '\"\\$&;()<>|*?[]#~`!"):
		return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	}
	return text
}
