package inspect

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/usererr"
)

// Text writes the findings for people. With colour samples have the codes of a terminal, else targets stand in ⟦ ⟧.
// What rows hold is escaped.
func (f *Findings) Text(w io.Writer, colour bool) error {
	var b strings.Builder
	for _, s := range f.Splits {
		f.split(&b, s)
	}
	if len(f.Findings) == 0 {
		b.WriteString("\n" + nothing + "\n")
	}
	for _, l := range levels(f.Findings) {
		fmt.Fprintf(&b, "\n%s:\n", l.Title)
		for _, finding := range l.Findings {
			fmt.Fprintf(&b, "  %s\n", usererr.OneLine(finding.title()+": "+finding.places()))
		}
	}
	if f.Model == "" {
		b.WriteString("\nWithout --model nothing is said of tokens, of what the limit cuts and of what the chat template shows.\n")
	}
	if len(f.Samples) > 0 {
		what := "their turns"
		if f.Model != "" {
			what = "as the model sees them; what it learns stands in ⟦ ⟧"
			if colour {
				what = "as the model sees them: what it reads, " + painted(target, "what it learns") + ", " + painted(mark, "what the template writes")
			}
		}
		fmt.Fprintf(&b, "\nRows, %s:\n", what)
	}
	for _, s := range f.Samples {
		s.write(&b, colour)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const nothing = "Nothing was found that is probably not meant."

// level is the findings of one.
type level struct {
	Title    string
	Findings []Finding
}

// levels are those that have findings.
func levels(all []Finding) (list []level) {
	for _, l := range []struct{ is, title string }{{mistake, "Probably mistakes"}, {look, "Worth a look"}} {
		of := slices.DeleteFunc(slices.Clone(all), func(f Finding) bool { return f.Level != l.is })
		if len(of) > 0 {
			list = append(list, level{l.title, of})
		}
	}
	return list
}

// title says what was found, without its split where that is the training rows.
func (f Finding) title() string {
	says := kinds[f.Kind].rows
	if strings.Contains(says, "%s") {
		says = fmt.Sprintf(says, f.What)
	}
	rows := plural(f.Rows, "row")
	if f.Split != train {
		rows += " of " + f.Split
	}
	if f.Rows == 1 {
		says = singular(says)
	}
	return rows + " " + says
}

// places says where.
func (f Finding) places() (out string) {
	if f.Rows > 1 {
		out = "the first at "
	}
	for i, p := range f.Places {
		if i > 0 {
			out += "; "
		}
		out += p.At
		if p.Of != "" {
			out += " (as " + p.Of + ")"
		}
	}
	if f.Rows > len(f.Places) {
		out += "; …"
	}
	return out
}

// train is the name of the split of which most is said.
const train = "train"

// singular makes the verb of "rows that …" one of a single row.
func singular(says string) string {
	verb, rest, _ := strings.Cut(says, " ")
	one := map[string]string{
		"are": "is", "have": "has", "lose": "loses", "end": "ends", "begin": "begins", "share": "shares", "nearly": "nearly",
	}[verb]
	return strings.Replace(one+" "+rest, "nearly are", "nearly is", 1)
}

// Numbers in words.
func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return grouped(n) + " " + what
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int) string {
	text := fmt.Sprint(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// split says what a part of the data set is, and how long its rows are.
func (f *Findings) split(b *strings.Builder, s Split) {
	fmt.Fprintf(b, "%s\n", usererr.OneLine(fmt.Sprintf("%s: %s, %s in %s, %s", s.Name, s.Path, s.Format, s.Container, plural(s.Rows, "row"))))
	for _, note := range s.Notes {
		fmt.Fprintf(b, "  %s\n", usererr.OneLine(note))
	}
	if r := s.Report; r != nil {
		fmt.Fprintf(b, "  %s, %s tokens, %s of them targets (%.1f %%)\n", plural(r.Samples, "sample"), grouped(r.Tokens), grouped(r.TargetTokens),
			percent(r.TargetTokens, r.Tokens))
	}
	l := s.Lengths
	if l == nil {
		return
	}
	fmt.Fprintf(b, "  %s a row: %s to %s, half of them at most %s, 90 %% at most %s, 99 %% at most %s\n", f.Unit,
		grouped(l.Shortest), grouped(l.Longest), grouped(l.Median), grouped(l.P90), grouped(l.P99))
	if f.Model != "" {
		fmt.Fprintf(b, "  max_seq_length %s: %s longer (%.1f %%)\n", grouped(f.MaxSeqLength), plural(l.Over, "row"), percent(l.Over, s.Rows))
	}
	most := mostRows(l.Bins)
	const width = 40
	for _, bin := range l.Bins {
		bar := strings.Repeat("█", (bin.Rows*width+most-1)/most)
		fmt.Fprintf(b, "  %8s –%8s %s %s\n", grouped(bin.From), grouped(bin.To), bar, grouped(bin.Rows))
	}
}

func percent(part, of int) float64 { return 100 * float64(part) / float64(max(1, of)) }

// Codes of a terminal for the parts of a sample.
var codes = map[string]string{target: "\x1b[1;32m", mark: "\x1b[36m"}

func painted(class, text string) string {
	if codes[class] == "" {
		return text
	}
	return codes[class] + text + "\x1b[0m"
}

// Classes of what a sample consists of.
const (
	target = "target" // what is learned
	mark   = "mark"   // what the template writes
)

// class tells the parts of a sample apart; what is read and not learned has none.
func class(t processor.Token) string {
	switch {
	case t.Target:
		return target
	case t.Role == "":
		return mark
	}
	return ""
}

// write shows a sample token by token, or turn by turn.
func (s Sample) write(b *strings.Builder, colour bool) {
	fmt.Fprintf(b, "\n── %s\n", usererr.OneLine(s.Split+", "+s.At))
	for _, p := range parts(s) {
		switch {
		case colour:
			b.WriteString(painted(p.Class, p.Text))
		case p.Class == target:
			b.WriteString("⟦" + p.Text + "⟧")
		default:
			b.WriteString(p.Text)
		}
	}
	if s.More > 0 {
		fmt.Fprintf(b, "\n… %s more", plural(s.More, "token"))
	}
	b.WriteString("\n")
}

// mostRows is the largest bin's.
func mostRows(bins []Bin) (most int) {
	for _, bin := range bins {
		most = max(most, bin.Rows)
	}
	return most
}

// shown is a piece of a sample and the class of what it is.
type shown struct{ Text, Class string }

// parts are a sample's, neighbours of a kind together.
func parts(s Sample) (all []shown) {
	for _, turn := range s.Turns {
		if turn.Role != "" {
			all = append(all, shown{turn.Role + ": ", "mark"})
		}
		all = append(all, shown{lines(turn.Text) + "\n", ""})
	}
	for _, t := range s.Tokens {
		class := class(t)
		if n := len(all); n > 0 && all[n-1].Class == class {
			all[n-1].Text += t.Text
		} else {
			all = append(all, shown{t.Text, class})
		}
	}
	for i := range all {
		all[i].Text = lines(all[i].Text)
	}
	return all
}

// lines escapes a text of several lines as usererr.OneLine does one.
func lines(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, usererr.Hidden) {
		return text
	}
	list := strings.Split(text, "\n")
	for i := range list {
		list[i] = usererr.OneLine(list[i])
	}
	return strings.Join(list, "\n")
}
