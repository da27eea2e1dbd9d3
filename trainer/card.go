package trainer

import (
	"fmt"
	"io"
	"path"
	"strings"

	"qlora-wgpu/internal/settings"
)

// writeCard writes the model card that hubs show.
func (r *run) writeCard(w io.Writer) error {
	c := r.config
	var b strings.Builder
	tags, base := "- qlora\n- lora", fmt.Sprintf("4-bit NormalFloat (blocks of %d, double quantization)", c.BlockSize)
	if c.Quantize == settings.Unquantized {
		tags, base = "- lora", "bfloat16"
	}
	fmt.Fprintf(&b, "---\nlibrary_name: peft\nbase_model: %s\ntags:\n%s\n---\n\n# Adapter\n\n", path.Base(c.Model), tags)
	fmt.Fprintf(&b, "%s over %s in %s, %s\n\n", r.engine.Adapter.Config, path.Base(c.Model), base, cardMark)
	fmt.Fprintf(&b, "| setting | value |\n|---|---|\n")
	for _, row := range [][2]any{
		{"data", fmt.Sprintf("%s (%s, %d samples)", path.Base(c.Data), r.in.Data.Format, len(r.loader.Samples))},
		{"steps", r.state.Step}, {"epochs", fmt.Sprintf("%.2f", r.loader.Stream.Epoch())},
		{"batch", fmt.Sprintf("%d sequences × %d", c.BatchSize, c.GradientAccumulationSteps)},
		{"max_seq_length", r.loader.MaxSeqLength}, {"learning_rate", fmt.Sprintf("%g, %s", c.LearningRate, c.LRSchedulerType)},
		{"optimizer", fmt.Sprintf("%s, weight decay %g, gradient norm clipped at %g", c.Optim, c.WeightDecay, c.MaxGradNorm)},
		{"seed", c.Seed}, {"last training loss", fmt.Sprintf("%.4f", r.state.Loss)},
	} {
		fmt.Fprintf(&b, "| %v | %v |\n", row[0], row[1])
	}
	if e := r.state.Eval; e != nil {
		fmt.Fprintf(&b, "| evaluation loss | %.4f (perplexity %.3f, %d rows held back) |\n", e.Loss, e.Perplexity, e.Rows)
	}
	fmt.Fprintf(&b, "\nLoad it with PEFT: `PeftModel.from_pretrained(base, folder)`, or `qlora-wgpu generate --model … --adapter folder`.\n")
	_, err := io.WriteString(w, b.String())
	return err
}
