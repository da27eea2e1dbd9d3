package inspect

import "qlora-wgpu/internal/dataset"

const (
	mostShown = 1500 // tokens of a sample
	mostText  = 4000 // characters of a turn that is shown without a model
)

// sample is what a row has become, for it may be shown.
func (l Look) sample() dataset.Encoded {
	if l.encoded == nil {
		return dataset.Encoded{}
	}
	return *l.encoded
}

// sample shows the first sample of a row, or without a model its turns.
func (i *Inspector) sample(c candidate) (Sample, error) {
	out := Sample{Split: c.split, At: c.row.Where}
	if i.o.Text == nil {
		if c.row.Messages == nil {
			out.Turns = []Turn{{Text: start(c.row.Text)}}
		}
		for _, m := range c.row.Messages {
			out.Turns = append(out.Turns, Turn{m.Role, start(m.Content)})
		}
		return out, nil
	}
	first := c.encoded.Samples()[0]
	all, err := i.o.Text.Tokens(first.IDs, c.row, first.Turns)
	if err != nil {
		return out, err
	}
	for k := range all {
		all[k].Target = k > 0 && first.Labels[k] >= 0 // nothing is before the first
	}
	out.More = max(0, len(all)-mostShown)
	out.Tokens = all[:len(all)-out.More]
	return out, nil
}

// start is the beginning of a text.
func start(text string) string {
	n := 0
	for at := range text {
		if n++; n > mostText {
			return text[:at] + "…"
		}
	}
	return text
}
