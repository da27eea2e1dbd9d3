package inspect

import (
	"cmp"
	"slices"
	"strings"

	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/processor"
)

// Findings are what is said of a data set. Their JSON has these keys for good.
type Findings struct {
	Model        string    `json:"model,omitempty"`         // whose tokenizer and chat template were used
	MaxSeqLength int       `json:"max_seq_length,omitzero"` // tokens of a sample at most
	Unit         string    `json:"unit"`                    // of lengths: "tokens", without a model "characters"
	Splits       []Split   `json:"splits"`
	Findings     []Finding `json:"findings"` // mistakes first; empty: nothing was found
	Samples      []Sample  `json:"samples"`
	Warnings     []string  `json:"warnings,omitempty"` // about the model's text side
	Method       Method    `json:"method"`
}

// Units of length.
const (
	tokens     = "tokens"
	characters = "characters"
)

// Split is a part of the data set.
type Split struct {
	Name      string          `json:"name"` // "train", "valid"
	Path      string          `json:"path"`
	Format    string          `json:"format"`
	Container string          `json:"container"`
	Rows      int             `json:"rows"`
	Notes     []string        `json:"notes,omitempty"` // of the reader
	Report    *dataset.Report `json:"report,omitempty"`
	Lengths   *Lengths        `json:"lengths,omitempty"` // nil where no row is learned

	report dataset.Report
	whats  map[string]int // of each kind
}

// Lengths are those of the rows that are learned, before any is cut: of a conversation that becomes several samples the
// longest one's.
type Lengths struct {
	Shortest int   `json:"shortest"`
	Median   int   `json:"median"`
	P90      int   `json:"p90"`
	P99      int   `json:"p99"`
	Longest  int   `json:"longest"`
	Over     int   `json:"over_max_seq_length"` // rows
	Bins     []Bin `json:"bins"`
}

// Bin counts the rows of lengths From … To.
type Bin struct {
	From int `json:"from"`
	To   int `json:"to"`
	Rows int `json:"rows"`
}

// Finding is something that rows have in common.
type Finding struct {
	Kind   string  `json:"kind"`
	What   string  `json:"what,omitempty"` // which of the kind
	Level  string  `json:"level"`          // "mistake": hardly meant; "look": often meant
	Split  string  `json:"split"`
	Rows   int     `json:"rows"`
	Places []Place `json:"places"` // of the first of them
}

// Place is where a row stands, and where the one is that it is like.
type Place struct {
	At string `json:"at"`
	Of string `json:"of,omitempty"`
}

// Sample is a row as the model sees it.
type Sample struct {
	Split  string            `json:"split"`
	At     string            `json:"at"`
	Tokens []processor.Token `json:"tokens"`
	More   int               `json:"more,omitzero"` // tokens beyond those
	Turns  []Turn            `json:"turns,omitempty"`
}

// Turn is what a row has, shown where there is no model.
type Turn struct {
	Role string `json:"role"` // empty: a text
	Text string `json:"text"`
}

// Levels of findings.
const (
	mistake = "mistake"
	look    = "look"
)

// Kinds of findings.
const (
	kindLeftOut     = "left_out"
	kindRefused     = "refused"
	kindCutAnswer   = "answer_cut"
	kindCut         = "cut"
	kindUnseen      = "not_shown"
	kindEmptyAnswer = "empty_answer"
	kindEmptyAsk    = "empty_question"
	kindEcho        = "answer_is_question"
	kindRepetitive  = "repetitive_answer"
	kindSameAnswer  = "same_answer"
	kindExact       = "duplicate"
	kindNear        = "near_duplicate"
	kindLeak        = "evaluation_row_in_training"
	kindNearLeak    = "evaluation_row_near_training"
	kindUsers       = "user_turns_in_a_row"
	kindAnswers     = "answers_in_a_row"
	kindNoEnd       = "no_answer_at_the_end"
	kindBegin       = "begins_with_an_answer"
	kindSystem      = "late_system_turn"
	kindToolTurn    = "tool_turn_without_call"
	kindMarks       = "template_marks"
	kindUnfilled    = "unfilled_placeholder"
	kindMojibake    = "mojibake"
	kindReplacement = "replacement_character"
	kindControl     = "control_characters"
	kindInvisible   = "invisible_characters"
	kindSpace       = "unusual_whitespace"
	kindAround      = "whitespace_around_answer"
	kindLong        = "very_long"
	kindShort       = "very_short"
)

// kindOf says what a finding of a kind is.
type kindOf struct {
	order int
	level string
	// rows that …; %s is what
	rows string
	// what it does to a model, or what can be done
	about string
}

var kinds = map[string]kindOf{
	kindLeftOut:     {0, mistake, "are left out (%s)", "Nothing of it is learned."},
	kindRefused:     {1, mistake, "are refused by the chat template (%s)", "Training stops at the first of them."},
	kindLeak:        {2, mistake, "are among the training rows", "The loss there says nothing about what is new to the model."},
	kindNearLeak:    {3, mistake, "nearly are among the training rows", "The loss there says little about what is new to the model."},
	kindMojibake:    {4, mistake, "have UTF-8 that was read as Latin-1 or Windows-1252", "Read the source again as UTF-8."},
	kindReplacement: {5, mistake, "have U+FFFD, which stands for what could not be read", "What stood there is lost; go back to the source."},
	kindControl:     {6, mistake, "have control characters (%s)", "Each becomes a token that the model learns."},
	kindMarks:       {7, mistake, "have marks of a chat template in a turn (%s)", "One that the tokenizer knows ends or begins a turn there."},
	kindUnfilled:    {8, mistake, "have a placeholder that was not filled in (%s)", "The model learns the placeholder."},
	kindEmptyAnswer: {9, mistake, "have an empty answer beside others", "It is not learned."},
	kindEmptyAsk:    {10, mistake, "have an empty question", "The model learns to answer nothing."},
	kindEcho:        {11, mistake, "have an answer that is the question", "The model learns to repeat what it is asked."},
	kindRepetitive:  {12, mistake, "have an answer that repeats itself", "The model learns not to end."},
	kindSameAnswer:  {13, look, "share an answer with at least four others", "The model learns it for every question."},
	kindExact:       {14, mistake, "are there already", "What is there twice counts twice; data convert --dedup leaves it out."},
	kindNear:        {15, look, "nearly are there already", "data convert --dedup leaves it out."},
	kindUsers:       {16, mistake, "have two user turns in a row", "Many chat templates refuse that or join the two."},
	kindAnswers:     {17, look, "have two answers in a row", "Many chat templates refuse that."},
	kindNoEnd:       {18, mistake, "end without an answer", "What stands behind the last answer is read and not learned."},
	kindBegin:       {19, look, "begin with an answer", "It is learned without a question."},
	kindSystem:      {20, mistake, "have a system turn that is not the first", "Many chat templates refuse that or show it elsewhere."},
	kindToolTurn:    {21, mistake, "have a tool's turn without a call before it", "The model never sees what was called."},
	kindUnseen:      {22, mistake, "have %s that the chat template does not show", "The model does not see it."},
	kindCutAnswer:   {23, mistake, "lose a part of an answer to max_seq_length", "The model learns an answer without its end."},
	kindCut:         {24, look, "are cut behind the last answer by max_seq_length", "Nothing that is learned is lost."},
	kindInvisible:   {25, mistake, "have characters that nobody sees (%s)", "Each becomes a token, and they can hide text from a reader."},
	kindSpace:       {26, look, "have unusual white space (%s)", "It becomes other tokens than a space or a line break."},
	kindAround:      {27, look, "have an answer with white space around it", "Unless the template trims it, the model learns it."},
	kindLong:        {28, look, "are far longer than the others", "Is it one row?"},
	kindShort:       {29, look, "are far shorter than the others", "Is something missing?"},
}

// order puts mistakes first, then kinds in the order of their table, then what there is more of.
func (i *Inspector) order(a, b *Finding) int {
	at := func(f *Finding) int {
		return slices.IndexFunc(i.splits, func(s *split) bool { return s.Name == f.Split })
	}
	return cmp.Or(
		cmp.Compare(b.Level, a.Level), // "mistake" behind "look" by its letters
		cmp.Compare(kinds[a.Kind].order, kinds[b.Kind].order), cmp.Compare(at(a), at(b)),
		cmp.Compare(b.Rows, a.Rows), strings.Compare(a.What, b.What),
	)
}

// Method says how near-duplicates are found, for whoever judges the counts.
type Method struct {
	Words      int     `json:"words"`       // of a shingle
	Hashes     int     `json:"hashes"`      // of a row's MinHash
	Bands      int     `json:"bands"`       // of which rows that are compared share one
	Threshold  float64 `json:"threshold"`   // of the estimated Jaccard similarity
	Error      float64 `json:"error"`       // standard deviation of the estimate there
	Found      float64 `json:"found"`       // of the pairs with a similarity of 0.9
	LeastWords int     `json:"least_words"` // of a row that is compared so
}
