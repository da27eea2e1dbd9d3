// Package inspect looks at a data set before an hour is spent on it: what a model would see of it and learn, and what
// in it is probably not meant.
//
//	Inspector.Look  a row → what is to be said of it alone, by any goroutine
//	Inspector.Add   in the order of the rows: counts, and what rows say together
//	Findings        → Text, JSON, HTML
//
// Of a row 100 bytes stay (hashes of its text and of its answer, a sketch of its words, its length) and its place in
// the file, never its text; of what is found a count and the first places.
package inspect

import (
	"maps"
	"math/rand/v2"
	"slices"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/processor"
)

// Options are what rows are looked at with.
type Options struct {
	// Text is the text side of the model; nil: lengths are in characters, and nothing is said of what a model sees.
	Text         *processor.Processor
	Model        string // its name
	TrainOn      chat.TrainOn
	MaxSeqLength int // tokens of a sample at most; of no meaning without Text
	Samples      int // rows to show token by token
	// Looked is told of rows that were looked at, as Source goes on. nil: nobody wants to know.
	Looked func(rows int)
}

// Inspector gathers what is found in the splits of a data set, the training rows first.
type Inspector struct {
	o       Options
	brief   bool            // rows are not compared by their words
	common  map[uint64]bool // shingles that tell rows apart no more than the system's words; nil: not looked for yet
	encoder dataset.Encoder
	marks   []string // special tokens of the model that do not look like any
	splits  []*split
	found   map[key]*Finding
	places  places
	rows    rows
	twins   Twins // nil: not looked for yet
	shown   []candidate
	random  *rand.Rand
	kept    int // rows that could be shown
}

// split is what is known of a part of the data set.
type split struct {
	Split
	first, end int // rows among all
}

// candidate is a row that may be shown.
type candidate struct {
	row     dataset.Row
	split   string
	encoded dataset.Encoded
	index   int
}

type key struct {
	split, kind, what string
}

// New begins an inspection.
func New(o Options) *Inspector {
	i := &Inspector{o: o, found: map[key]*Finding{}, random: rand.New(rand.NewPCG(42, 0))}
	if o.Text != nil {
		i.encoder = o.Text.Encoder(o.TrainOn, o.MaxSeqLength)
		i.marks = unusualMarks(o.Text.Tokenizer)
	}
	return i
}

// Begin begins a split, "train" first; the rows that are added next are its own.
func (i *Inspector) Begin(name string, source *dataset.Source) {
	at := len(i.rows.exact)
	i.splits = append(i.splits, &split{first: at, end: at, Split: Split{
		Name: name, Path: source.Path, Format: source.Format, Container: source.Container, Notes: source.Notes,
	}})
}

// Add takes what was seen of the split's next row.
func (i *Inspector) Add(l Look) {
	s := i.splits[len(i.splits)-1]
	at := i.rows.add(l)
	i.places.add(l.row.Where)
	s.end++
	s.Rows++
	if l.encoded != nil {
		s.report.Add(l.row, *l.encoded)
	}
	for _, h := range l.hits {
		i.find(s, h.kind, h.what, Place{At: l.row.Where})
	}
	if l.kept {
		i.show(candidate{row: l.row, split: s.Name, encoded: l.sample(), index: at})
	}
}

// show keeps some of all rows, each with the same chance.
func (i *Inspector) show(c candidate) {
	i.kept++
	if len(i.shown) < i.o.Samples {
		i.shown = append(i.shown, c)
	} else if k := i.random.IntN(i.kept); k < i.o.Samples {
		i.shown[k] = c
	}
}

const (
	mostPlaces = 5  // of a finding
	mostWhats  = 32 // kinds of a kind: of what does not show, of marks
	otherWhat  = "something else"
)

// find counts a row.
func (i *Inspector) find(s *split, kind, what string, at Place) {
	k := key{s.Name, kind, what}
	f := i.found[k]
	if f == nil {
		if what != "" && s.whats[kind] >= mostWhats {
			k.what = otherWhat
			f = i.found[k]
		} else if s.whats == nil {
			s.whats = map[string]int{}
		}
	}
	if f == nil {
		s.whats[kind]++
		f = &Finding{Kind: kind, What: k.what, Split: s.Name, Level: kinds[kind].level}
		i.found[k] = f
	}
	f.Rows++
	if len(f.Places) < mostPlaces {
		f.Places = append(f.Places, at)
	}
}

// Findings are what all rows have said, and what they say together.
func (i *Inspector) Findings() (*Findings, error) {
	out := &Findings{Model: i.o.Model, Unit: characters, Findings: []Finding{}, Samples: []Sample{}, Method: method}
	if i.o.Text != nil {
		out.Unit, out.MaxSeqLength = tokens, i.o.MaxSeqLength
		out.Warnings = i.o.Text.Warnings
	}
	i.twins = i.rows.twins()
	i.compare()
	i.sameAnswers()
	for _, s := range i.splits {
		i.lengths(s)
		if i.o.Text != nil {
			s.Report = &s.report
		}
		out.Splits = append(out.Splits, s.Split)
	}
	for _, f := range i.sorted() {
		out.Findings = append(out.Findings, *f)
	}
	slices.SortFunc(i.shown, func(a, b candidate) int { return a.index - b.index })
	for _, c := range i.shown {
		sample, err := i.sample(c)
		if err != nil {
			return nil, err
		}
		out.Samples = append(out.Samples, sample)
	}
	return out, nil
}

// sorted are the findings in the order in which they are said.
func (i *Inspector) sorted() []*Finding {
	return slices.SortedFunc(maps.Values(i.found), i.order)
}

// splitOf is the one of a row.
func (i *Inspector) splitOf(row int) *split {
	for _, s := range i.splits {
		if row < s.end {
			return s
		}
	}
	return i.splits[len(i.splits)-1]
}

// compare says which rows are there twice.
func (i *Inspector) compare() {
	for _, row := range i.twins.sorted() {
		t := i.twins[row]
		s, other := i.splitOf(int(row)), i.splitOf(int(t.Of))
		kind := kindExact
		switch {
		case t.Near && s != other:
			kind = kindNearLeak
		case t.Near:
			kind = kindNear
		case s != other:
			kind = kindLeak
		}
		i.find(s, kind, "", Place{At: i.places.at(int(row)), Of: i.places.at(int(t.Of))})
	}
}
