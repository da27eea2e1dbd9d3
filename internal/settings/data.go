package settings

import (
	"math"
	"strconv"
)

// Looked is a data set that is looked at, at will with the eyes of a model.
type Looked struct {
	Dataset  `yaml:",inline"`
	Part     `yaml:",inline"`
	Source   `yaml:",inline"`
	Template `yaml:",inline"`
	Targets  `yaml:",inline"`
	Length   `yaml:",inline"`
}

// Check checks all but the model, which there may be none of.
func (l Looked) Check() error {
	switch {
	case l.Model == "" && l.ChatTemplate != "":
		return Wrong("chat_template", l.ChatTemplate, "only with model, whose tokenizer it goes with")
	case l.TrainOnInputs && l.TrainOn == "last":
		return Wrong("train_on_inputs", "true", "false together with train_on last")
	}
	return first(l.Dataset.Check(), l.Template.Check(), l.Targets.Check(), l.Length.Check())
}

// Forced is whether files that are there give way.
type Forced struct {
	Force bool `json:"force" name:"force" default:"false" help:"Replace files that are there."`
}

// Inspect is every setting of an inspection.
type Inspect struct {
	Looked `yaml:",inline"`
	Forced `yaml:",inline"`
	HTML   string `json:"html" name:"html" help:"Write a page of it, which needs nothing beside it." placeholder:"FILE"`
}

// Convert is every setting of writing a data set as messages.
type Convert struct {
	Dataset  `yaml:",inline"`
	Part     `yaml:",inline"`
	Source   `yaml:",inline"`
	Template `yaml:",inline"`
	Seeded   `yaml:",inline"`
	Forced   `yaml:",inline"`
	Output   string `json:"output" name:"output" help:"Where to: a .jsonl file; with split, or where the data has rows to evaluate, a folder for train.jsonl and valid.jsonl." placeholder:"PATH"`
	Dedup    bool   `json:"dedup" name:"dedup" default:"false" help:"Leave out rows that are there already, whole or nearly, and rows to evaluate that are training rows."`
	// Not that of an answer.
	MaxTokens int     `json:"max_tokens" name:"max-tokens" default:"0" help:"Leave out rows with more tokens, by the model's tokenizer and template; 0: none."`
	Sample    int     `json:"sample" name:"sample" default:"0" help:"Take so many of the training rows that are left, by seed; 0: all."`
	Split     float64 `json:"split" name:"split" default:"0" help:"Hold back rows for evaluation, by seed: a part below 1, or a number of rows."`
}

// Check checks all of them.
func (c Convert) Check() error {
	switch {
	case c.MaxTokens > 0 && c.Model == "":
		return Wrong("max_tokens", strconv.Itoa(c.MaxTokens), "only with model, whose tokens they are")
	case c.Model != "" && c.MaxTokens == 0:
		return Wrong("model", strconv.Quote(c.Model), "only with max_tokens: what is written does not depend on a model")
	case c.TrainOnInputs:
		return Wrong("train_on_inputs", "true", "false where nothing is learned")
	}
	return first(c.Dataset.Check(), filled("output", c.Output, "the path of a file or of a folder"), c.Template.Check(),
		Within("max_tokens", c.MaxTokens, 0, 1<<30), Within("sample", c.Sample, 0, math.MaxInt32), validationSize("split", c.Split))
}
