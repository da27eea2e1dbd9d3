package trainer

import (
	"cmp"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"qlora-wgpu/internal/engine"
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
	if shape := r.in.Model.Spec; shape.Quantized != nil {
		base = engine.FormatsOf(shape, c.Quantization).String()
	}
	data := r.in.Data
	fmt.Fprintf(&b, "---\nlibrary_name: peft\nbase_model: %s\n%stags:\n%s\n---\n\n# Adapter\n\n", yamlString(r.baseModel()),
		datasetsOf(data.Repositories), tags)
	fmt.Fprintf(&b, "%s over %s in %s, %s\n\n", r.engine.Adapter.Config, markdownText(r.baseModel()), base, cardMark)
	fmt.Fprintf(&b, "| setting | value |\n|---|---|\n")
	for _, row := range [][2]any{
		{"data", fmt.Sprintf("%s (%s, %d samples)", markdownText(dataNames(c.Data, data.Repositories)), data.Format, r.loader.Samples.Len())},
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
	if said := r.classes("`%s`"); said != "" {
		fmt.Fprintf(&b, "\n%s\n", said)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// classes tells how PEFT loads the adapter where two classes of transformers hold its model, under other names; empty:
// one does. Names are written by the format.
func (r *run) classes(format string) string {
	shape, config := r.in.Model.Spec, r.engine.Adapter.Config
	own, other := shape.Family, cmp.Or(shape.Wrapper, "a class that reads images too")
	switch {
	case config.Within != "":
		own, other = other, own
	case shape.Wrapper == "":
		return ""
	}
	said := "PEFT loads the adapter into " + format + " as it is, and into " + format + " with " + format + "."
	return fmt.Sprintf(said, own, other, config.KeyMapping())
}

// baseModel is the name by which others find the base model, or else that of its file or folder.
func (r *run) baseModel() string { return cmp.Or(r.in.Model.Name, baseName(r.config.Model)) }

// dataNames are the last parts of the data sets' paths, and the whole names of those that came from the hub, each with
// its weight.
func dataNames(data string, repositories []string) string {
	var names []string
	for line := range strings.Lines(data) {
		line = strings.TrimSpace(line)
		if !slices.ContainsFunc(repositories, func(name string) bool { return strings.HasPrefix(line, name) }) {
			line = baseName(line)
		}
		names = append(names, line)
	}
	return strings.Join(names, ", ")
}

// datasetsOf is the key of a card's head by which the hub finds data sets of its own; empty without any.
func datasetsOf(repositories []string) string {
	if len(repositories) == 0 {
		return ""
	}
	text := "datasets:\n"
	for _, name := range repositories {
		text += "- " + yamlString(name) + "\n"
	}
	return text
}

// baseName is the last part of a path as any system writes it.
func baseName(name string) string { return path.Base(strings.ReplaceAll(name, `\`, "/")) }

// yamlString is a double-quoted YAML string. Go's escapes are all YAML's, and only what is quoted is a string to every
// reader: without quotes yes, 12:30:45 and .inf are other things to some.
func yamlString(text string) string {
	return strconv.Quote(strings.ToValidUTF8(text, string(utf8.RuneError)))
}

// markdownText is a name within a line or a table of GitHub's Markdown: what would be markup, a link or a cell's end is
// escaped, and what cannot be seen is shown as Go writes it.
func markdownText(text string) string {
	var b strings.Builder
	before := ' '
	for text != "" {
		r, width := utf8.DecodeRuneInString(text)
		behind, _ := utf8.DecodeRuneInString(text[width:])
		switch {
		case r == utf8.RuneError && width == 1:
			fmt.Fprintf(&b, `\\x%02x`, text[0])
		case r == '|': // a table's cells end before escapes are read
			b.WriteString("&#124;")
		case r == '_' && isWord(before) && isWord(behind), strings.ContainsRune(" .,-/()'%=;?", r):
			b.WriteRune(r)
		case r < utf8.RuneSelf && (unicode.IsPunct(r) || unicode.IsSymbol(r)):
			b.WriteByte('\\')
			b.WriteRune(r)
		case !unicode.IsPrint(r):
			b.WriteString(`\` + strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteRune(r)
		}
		before, text = r, text[width:]
	}
	return b.String()
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
