package dataset

import (
	"fmt"
	"slices"
	"strings"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/usererr"
)

// Drop counts the rows that gave no sample for one reason.
type Drop struct {
	Reason string `json:"reason"`
	Rows   int    `json:"rows"`
	First  string `json:"first"` // place of the first such row in the file
}

// Unseen counts the rows that hold something which the chat template does not show.
type Unseen struct {
	What  string `json:"what"` // "tools", "tool calls", "reasoning", …
	Rows  int    `json:"rows"`
	First string `json:"first"` // place of the first such row in the file
}

// Rewritten counts the conversations that became one sample for each answer.
type Rewritten struct {
	Rows    int    `json:"rows"`
	Samples int    `json:"samples"` // that they became
	Lost    int    `json:"lost"`    // answers that begin beyond the longest sample, and are in none
	First   string `json:"first"`   // place of the first such row in the file
}

// Report says what became of the rows. Targets are counted as the loss sees them: the first token of a sequence is
// predicted by nothing.
type Report struct {
	Rows         int `json:"rows"`
	Samples      int `json:"samples"`
	Tokens       int `json:"tokens"`
	TargetTokens int `json:"target_tokens"`
	Longest      int `json:"longest"`     // tokens of the longest row, before cutting
	Truncated    int `json:"truncated"`   // samples of conversations cut off at MaxSeqLength that still have targets
	AnswersCut   int `json:"answers_cut"` // those of them that lost a part of an answer
	SplitTexts   int `json:"split_texts"` // texts that became several samples
	// conversations of which the chat template writes earlier turns differently once others follow
	Rewritten *Rewritten `json:"rewritten,omitempty"`
	// rows with an assistant turn that is empty or of which nothing shows: it is not learned
	NothingToLearn *Unseen  `json:"nothing_to_learn,omitempty"`
	Unseen         []Unseen `json:"unseen,omitempty"`
	Dropped        []Drop   `json:"dropped,omitempty"`
}

// Warnings say what did not become a sample as it stood, of samples of at most maxSeqLength tokens.
func (r Report) Warnings(maxSeqLength int) (all []string) {
	warn := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, d := range r.Dropped {
		warn("%d rows left out (%s), the first at %s", d.Rows, d.Reason, d.First)
	}
	if r.Truncated > 0 {
		warn("%d conversations are longer than %d tokens and were cut off; %d of them lost a part of an answer",
			r.Truncated, maxSeqLength, r.AnswersCut)
	}
	if w := r.Rewritten; w != nil {
		warn("%d conversations became %d samples, one for each answer: the chat template writes earlier turns differently once others "+
			"follow, and each answer is learned behind what the model saw then; the first at %s", w.Rows, w.Samples, w.First)
		if w.Lost > 0 {
			warn("%d answers of them begin beyond %d tokens and were left out", w.Lost, maxSeqLength)
		}
	}
	if u := r.NothingToLearn; u != nil {
		warn("%d rows have %s: it is not learned, the first at %s", u.Rows, u.What, u.First)
	}
	for _, u := range r.Unseen {
		warn("%d rows have %s that the chat template does not show to the model, the first at %s", u.Rows, u.What, u.First)
	}
	return all
}

const (
	dropNoAnswer  = "no answer"
	dropEmptyText = "an empty text"
	dropTruncated = "the answer beyond max_seq_length"
	dropNoTarget  = "no target left by the chat template"

	emptyAnswer = "an assistant turn of which the chat template shows nothing"
)

// maxUnseen is how many kinds of what does not show are counted one by one; fields may have a name of their own in each
// row.
const (
	maxUnseen   = 32
	otherUnseen = "something else"
)

// Note counts what of a row's conversation is not learned, and whether it became several samples.
func (r *Report) Note(row Row, c chat.Encoded) {
	others := false
	for _, what := range c.Unseen {
		known := slices.ContainsFunc(r.Unseen, func(u Unseen) bool { return u.What == what })
		if !known && len(r.Unseen) >= maxUnseen {
			others = true
			continue
		}
		r.Unseen = count(r.Unseen, what, row.Where)
	}
	if others {
		r.Unseen = count(r.Unseen, otherUnseen, row.Where)
	}
	if c.Rewritten {
		if r.Rewritten == nil {
			r.Rewritten = &Rewritten{First: row.Where}
		}
		r.Rewritten.Rows++
		r.Rewritten.Samples += len(c.Samples)
	}
	if c.NothingToLearn > 0 {
		if r.NothingToLearn == nil {
			r.NothingToLearn = &Unseen{What: emptyAnswer, First: row.Where}
		}
		r.NothingToLearn.Rows++
	}
}

// count adds a row to what is counted under a name.
func count(list []Unseen, what, where string) []Unseen {
	for i := range list {
		if list[i].What == what {
			list[i].Rows++
			return list
		}
	}
	return append(list, Unseen{what, 1, where})
}

// add counts what became of a row.
func (r *Report) add(from Row, row encodedRow) {
	r.Rows++
	r.Longest = max(r.Longest, row.length)
	row.chat.Rewritten = row.chat.Rewritten && row.drop == "" // a row without a sample did not become any
	r.Note(from, row.chat)
	if row.drop != "" {
		at := slices.IndexFunc(r.Dropped, func(d Drop) bool { return d.Reason == row.drop })
		if at < 0 {
			at = len(r.Dropped)
			r.Dropped = append(r.Dropped, Drop{Reason: row.drop, First: from.Where})
		}
		r.Dropped[at].Rows++
		return
	}
	if row.chat.Rewritten {
		r.Rewritten.Samples -= row.beyond
		r.Rewritten.Lost += row.beyond
	} else if len(row.samples) > 1 {
		r.SplitTexts++
	}
	r.Truncated += row.truncated
	r.AnswersCut += row.answersCut
	for _, sample := range row.samples {
		r.Tokens += len(sample.IDs)
		r.TargetTokens += targets(sample.Labels)
	}
	r.Samples += len(row.samples)
}

func noTargets(s *Source, report Report, maxSeqLength int) error {
	reasons := make([]string, len(report.Dropped))
	hint := "every row needs an answer (an assistant turn or an output) that is not empty"
	for i, drop := range report.Dropped {
		reasons[i] = fmt.Sprintf("%d with %s (the first at %s)", drop.Rows, drop.Reason, drop.First)
		if drop.Reason == dropTruncated {
			hint = fmt.Sprintf("raise max_seq_length above %d: the longest row has %d tokens", maxSeqLength, report.Longest)
		}
	}
	for _, u := range report.Unseen {
		reasons = append(reasons, fmt.Sprintf("%d with %s that the chat template does not show (the first at %s)", u.Rows, u.What, u.First))
	}
	return usererr.New(encodeOp, s.Path, "no supervised token in %d rows: %s", report.Rows, strings.Join(reasons, ", ")).Hinted("%s", hint)
}
