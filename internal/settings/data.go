package settings

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
