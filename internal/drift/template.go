package drift

import (
	"fmt"
	"slices"
)

// Rendered tells whether the template and the tokenizer of what was written give the ids that training had.
type Rendered struct {
	Same    bool        `json:"same"`
	Rows    int         `json:"rows"`   // compared
	Tokens  int         `json:"tokens"` // of them, in training
	Differs *Difference `json:"difference"`
	Reason  string      `json:"reason,omitempty"` // why nothing could be compared; empty: it was
}

// Difference is the first id that is another one.
type Difference struct {
	Row      int    `json:"row"`   // of the data, from 1
	Where    string `json:"where"` // it stands there
	Position int    `json:"position"`
	Training *int   `json:"training"` // nil: the sequence has ended there
	Written  *int   `json:"written"`
}

func (d Difference) String() string {
	id := func(id *int) string {
		if id == nil {
			return "nothing"
		}
		return fmt.Sprint(*id)
	}
	return fmt.Sprintf("row %d, position %d: %s in training, %s from what was written", d.Row, d.Position, id(d.Training), id(d.Written))
}

// compareIDs renders all rows by what was written.
func (l *Live) compareIDs(w Written) Rendered {
	r := Rendered{Same: true}
	encoder, err := l.encoderOf(w.Model, w.Path, "")
	if err != nil {
		return Rendered{Reason: err.Error()}
	}
	for i, row := range l.rows {
		encoded, err := encoder.Row(row.Row, i)
		if err != nil {
			return Rendered{Reason: fmt.Sprintf("row %d: %v", i+1, err)}
		}
		r.Rows++
		samples := encoded.Samples()
		for n := range max(len(row.samples), len(samples)) {
			var training, written []uint32
			if n < len(row.samples) {
				training = row.samples[n].IDs
			}
			if n < len(samples) {
				written = samples[n].IDs
			}
			r.Tokens += len(training)
			if r.Differs == nil && !slices.Equal(training, written) {
				r.Same, r.Differs = false, differ(training, written, i, row.Where)
			}
		}
	}
	return r
}

// differ is the first place where two sequences do.
func differ(training, written []uint32, row int, where string) *Difference {
	at := 0
	for at < len(training) && at < len(written) && training[at] == written[at] {
		at++
	}
	id := func(ids []uint32) *int {
		if at >= len(ids) {
			return nil
		}
		id := int(ids[at])
		return &id
	}
	return &Difference{Row: row + 1, Where: where, Position: at, Training: id(training), Written: id(written)}
}
