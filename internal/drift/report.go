package drift

import (
	"fmt"
	"strings"
)

// Threshold is the mean divergence from which on answers are worth a warning; docs/adapters.md has the figures that it
// comes from. So is half of the base model's, at which a good part of what was learned is lost; below noise nothing is.
const (
	Threshold = 0.02
	noise     = 1e-6
)

// threshold is the one of this report.
func (r *Report) threshold() float64 { return max(noise, min(Threshold, r.Base.KL/2)) }

// Report is what Compare found. KLs are from the live adapter, in nats, means over the answers' tokens.
type Report struct {
	Rows         int `json:"rows"`
	RowsLeftOut  int `json:"rows_left_out"` // that the memory for logits had no room for
	AnswerTokens int `json:"answer_tokens"`

	Base        Measured  `json:"base"`        // as training kept it, without the adapter
	Live        Measured  `json:"live"`        // with it
	Merged      *Measured `json:"merged"`      // the weights before they were quantized
	Requantized *Measured `json:"requantized"` // what was written in a quantized type, or a folder loaded in NF4; nil: neither
	Template    Rendered  `json:"template"`

	Threshold float64  `json:"threshold"` // of the KL, for warnings
	Warnings  []string `json:"warnings"`

	written **Measured // which of these is that of the files
}

// Measured is how a model answers.
type Measured struct {
	Weights   string  `json:"weights"` // how its linears are kept
	Loss      float64 `json:"loss"`
	KL        float64 `json:"kl"`
	SameToken float64 `json:"same_token"` // the part of the tokens where both think the same one likeliest
}

// String is the report for people, a few lines.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Drift from the live adapter, over %d answer tokens of %d rows:\n", r.AnswerTokens, r.Rows)
	if r.RowsLeftOut > 0 {
		fmt.Fprintf(&b, "(the last %d rows are left out: so many logits are held)\n", r.RowsLeftOut)
	}
	table := [][]string{{"", "loss", "KL", "same token"}}
	for _, m := range []struct {
		name string
		*Measured
	}{{"base", &r.Base}, {"live adapter", &r.Live}, {"merged", r.Merged}, {"re-quantized", r.Requantized}} {
		if m.Measured != nil {
			table = append(table, []string{
				m.name + ", " + m.Weights, fmt.Sprintf("%.4f", m.Loss), fmt.Sprintf("%.3g", m.KL), fmt.Sprintf("%.1f %%", 100*m.SameToken),
			})
		}
	}
	widest := 0
	for _, row := range table {
		widest = max(widest, len(row[0]))
	}
	for _, row := range table {
		fmt.Fprintf(&b, "  %-*s  %8s  %9s  %10s\n", widest, row[0], row[1], row[2], row[3])
	}
	switch t := r.Template; {
	case t.Reason != "":
		fmt.Fprintf(&b, "  template: nothing could be rendered by it: %s\n", t.Reason)
	case t.Same:
		fmt.Fprintf(&b, "  template: the ids of training, %d of %d rows\n", t.Tokens, t.Rows)
	default:
		fmt.Fprintf(&b, "  template: other ids than in training, %s\n", t.Differs)
	}
	return b.String()
}

// warnings say what is worse than it has to be, and what would be better.
func (r *Report) warnings(w Written) (list []string) {
	warn := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	limit := r.threshold()
	last, quantized := *r.written, r.written == &r.Requantized
	if last.KL > max(r.Base.KL, limit) && last.Loss > r.Base.Loss {
		warn("What was written is worse than the base model without the adapter (loss %.4f and %.4f): its files may be damaged, or the "+
			"adapter is of another model.", last.Loss, r.Base.Loss)
	}
	switch m := r.Merged; {
	case m == nil || m.KL <= limit:
	case w.Dequantized:
		warn("The merged weights drift (KL %.3g, more than %.2g): their type is too coarse; f32 loses nothing.", m.KL, limit)
	case m.Loss <= r.Live.Loss:
		warn("The merged weights answer otherwise than the adapter did (KL %.3g, more than %.2g), with a lower loss: the weights of the files "+
			"are better than those that training saw. --base dequantized answers as it did.", m.KL, limit)
	default:
		warn("The merged weights drift (KL %.3g, more than %.2g): the adapter was added to weights that training did not see; --base "+
			"dequantized adds it to those that it saw.", m.KL, limit)
	}
	q := r.Requantized
	switch {
	case q == nil || q.KL <= limit || r.Merged != nil && q.KL < 2*r.Merged.KL:
	case !quantized:
		warn("Loaded in 4 bits again it drifts (KL %.3g, more than %.2g): load it in 16 bits, or the adapter over the base model.", q.KL, limit)
	case strings.HasPrefix(q.Weights, "Q8"):
		warn("Its type costs much (KL %.3g, more than %.2g): --type f16 or f32 costs less.", q.KL, limit)
	default:
		warn("Its type costs much (KL %.3g, more than %.2g): --type q8_0 or f16 costs less.", q.KL, limit)
	}
	switch t := r.Template; {
	case t.Reason != "":
		warn("No row could be rendered by what was written: %s.", t.Reason)
	case !t.Same:
		warn("The template or the tokenizer of what was written gives other ids than training had, %s: the model was not trained on these. "+
			"Put the template of training into it.", t.Differs)
	}
	return list
}
