package main

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/trainer"
)

func TestTryIt(t *testing.T) {
	c := trainer.Defaults()
	c.Model = "m"
	require.Equal(t, `qlora-wgpu generate --model m --adapter out --prompt "…"`, tryIt(c, "out"))
	c.ChatTemplate, c.Quantize = "t.jinja", settings.Unquantized
	require.Equal(t, `qlora-wgpu generate --model m --adapter out --chat-template t.jinja --quantization none --prompt "…"`, tryIt(c, "out"))
}

func TestReportLinesAreTheTrainers(t *testing.T) {
	var stdout, stderr bytes.Buffer
	r := newReporter(&console{context: t.Context(), stdout: &stdout, stderr: &stderr}, 2)
	step := func(n int, loss float64) {
		r.event(trainer.StepStats{Step: n, MaxSteps: 5, Loss: loss, GradNorm: 0.6, LearningRate: 2e-6, Epoch: 0.0625 * float64(n)})
	}
	r.event(events.Info{Message: "trainable params: 4,884,480 || all params: 139,399,488 || trainable%: 3.5040"})
	step(1, 0.5)
	step(2, 0.25)
	r.event(trainer.EvalStats{Step: 2, Loss: 0.5, Perplexity: 1.6487212707})
	step(3, 1)
	r.event(trainer.StepStats{
		Step: 4, MaxSteps: 5, Loss: math.NaN(), GradNorm: math.Inf(1), Skipped: true, BadTensor: "q_proj.lora_B", Epoch: 1,
	})
	r.event(trainer.Warning{Message: "the disk is slow"})
	step(5, 3)
	r.end()
	require.Equal(t, `trainable params: 4,884,480 || all params: 139,399,488 || trainable%: 3.5040
{'loss': 0.375, 'grad_norm': 0.6, 'learning_rate': 2e-06, 'epoch': 0.13}
{'eval_loss': 0.5, 'eval_ppl': 1.6487, 'step': 2}
{'loss': nan, 'grad_norm': inf, 'learning_rate': 0.0, 'epoch': 1.0}
{'loss': 3.0, 'grad_norm': 0.6, 'learning_rate': 2e-06, 'epoch': 0.31}
`, stdout.String())
	require.Equal(t, "warning: the disk is slow\n", stderr.String())
}

func TestBarOnATerminal(t *testing.T) {
	var stdout, stderr bytes.Buffer
	r := newReporter(&console{context: t.Context(), stdout: &stdout, stderr: &stderr, terminal: true}, 1)
	r.event(trainer.StepStats{Step: 3, MaxSteps: 4, Loss: 0.5, TokensPerSecond: 321, DeviceBytes: 5e8})
	r.end()
	require.Contains(t, stderr.String(), "loss 0.5000, 321 tokens/s, 0.5 GB")
	require.Contains(t, stderr.String(), "(3/4)")
	require.NotContains(t, stdout.String(), "tokens/s")
}

// What comes before the first step has a bar while somebody watches, beside the steps it stands before theirs, and no
// line of it stays.
func TestProgressOnATerminal(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		var stdout, stderr bytes.Buffer
		r := newReporter(&console{context: t.Context(), stdout: &stdout, stderr: &stderr, terminal: terminal}, 1)
		r.event(events.Load{})
		r.event(events.Load{Part: events.Part{Done: 1, Total: 4}, Bytes: 3, TotalBytes: 10})
		r.event(events.Compiling{Part: events.Part{Done: 2, Total: 4}})
		r.event(events.Compiling{Part: events.Part{Done: 4, Total: 4}})
		r.event(trainer.StepStats{Step: 3, MaxSteps: 4, Loss: 0.5})
		r.event(events.Stepping{Part: events.Part{Done: 1, Total: 8}, Step: 4})
		r.end()
		require.Equal(t, "{'loss': 0.5, 'grad_norm': 0.0, 'learning_rate': 0.0, 'epoch': 0.0}\n", stdout.String())
		for _, said := range []string{"Loading the model: 30 %", "Compiling shaders: 2 of 4", "Step 4: 12 %", "(3/4)"} {
			require.Equal(t, terminal, strings.Contains(stderr.String(), said), "%q: %q", said, stderr.String())
		}
	}
}

func TestNumbersArePythons(t *testing.T) {
	for text, x := range map[string]float64{
		"0.0": 0, "1.0": 1, "0.4289": 0.4289, "2e-06": 2e-6,
		"0.0002": 2e-4, "1e-10": 1e-10, "-3.5": -3.5, "inf": math.Inf(1), "-inf": math.Inf(-1), "nan": math.NaN(),
	} {
		require.Equal(t, text, number(x, -1))
	}
	require.Equal(t, "0.4289", number(0.42891, 4))
	require.Equal(t, "0.06", number(0.0625, 2))
}

func TestQuote(t *testing.T) {
	for _, c := range [][3]string{
		{"linux", "out/model.gguf", "out/model.gguf"},
		{"linux", "my model", "'my model'"},
		{"darwin", "it's", `'it'\''s'`},
		{"linux", `C:\model`, `'C:\model'`},
		{"windows", `C:\model`, `C:\model`},
		{"windows", `C:\my model`, `"C:\my model"`},
		{"windows", `D:\a&b`, `"D:\a&b"`},
		{"windows", `Say "hello" twice`, `"Say \"hello\" twice"`},
	} {
		require.Equal(t, c[2], quoteFor(c[0], c[1]))
	}
}
