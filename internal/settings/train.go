package settings

import "strconv"

// Train is every setting of a training run.
type Train struct {
	Source       `yaml:",inline"`
	Dataset      `yaml:",inline"`
	Output       `yaml:",inline"`
	Adapter      `yaml:",inline"`
	Quantization `yaml:",inline"`
	Template     `yaml:",inline"`
	Samples      `yaml:",inline"`
	Batch        `yaml:",inline"`
	Schedule     `yaml:",inline"`
	AdamW        `yaml:",inline"`
	Seeded       `yaml:",inline"`
	Memory       `yaml:",inline"`
	Hardware     `yaml:",inline"`
}

// Check reports the first setting that no run could use; the error names the key, its value and what is allowed.
// What depends on the model or the data (a rank above a layer's width, a sequence above the model's limit) is found
// when those are loaded.
func (t Train) Check() error {
	return first(t.Source.Check(), t.Dataset.Check(), t.checkRest())
}

// checkRest checks all but the paths of model and data.
func (t Train) checkRest() error {
	if t.TrainOnInputs && t.TrainOn == "last" {
		return Wrong("train_on_inputs", "true", "false together with train_on last")
	}
	return first(t.Output.Check(), t.Adapter.Check(), t.Quantization.Check(), t.Template.Check(), t.Samples.Check(), t.Batch.Check(),
		t.Schedule.Check(), t.AdamW.Check(), t.Memory.Check(), t.Hardware.Check())
}

// Shape is a common model's, for when there is no file of one.
type Shape struct {
	Arch   string `json:"arch" name:"arch" help:"Instead of a model, the shape of a common one (llama-3.1-8b)." placeholder:"NAME"`
	Layers int    `json:"layers" name:"layers" default:"0" help:"With arch: only so many layers; 0: all."`
}

// Check checks the number of layers.
func (s Shape) Check() error { return Within("layers", s.Layers, 0, 1000) }

// Random is a shape filled with random weights, to try memory and speed.
type Random struct {
	Shape         `yaml:",inline"`
	RandomWeights bool `json:"random_weights" name:"random-weights" default:"false" help:"With arch: fill the shape with random weights and train on random tokens, to try memory and speed. Nothing is written."`
}

// CheckTraining checks the shape and the settings of steps over it: neither a model nor data go with it.
func (r Random) CheckTraining(t Train) error {
	switch {
	case r.Arch == "" && r.RandomWeights:
		return Wrong("random_weights", "true", "only with arch")
	case r.Arch == "" && r.Layers != 0:
		return Wrong("layers", strconv.Itoa(r.Layers), "only with arch")
	case r.Arch == "":
		return t.Check()
	case !r.RandomWeights:
		return Wrong("arch", strconv.Quote(r.Arch), "only with random_weights").Hinted("to train a real model, give model and data")
	case t.Model != "" || t.Data != "":
		return Wrong("arch", strconv.Quote(r.Arch), "either arch, or model and data")
	case t.MaxSteps == 0:
		return Wrong("max_steps", "0", "at least 1 with arch")
	}
	return first(r.Shape.Check(), t.checkRest())
}
