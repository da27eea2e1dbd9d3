package settings

import "strconv"

// Drift is on what, and where, a model that is written is compared with the adapter that it is made of.
type Drift struct {
	Report   string `json:"report" name:"report" default:"auto" help:"Measure how far what is written answers from the adapter over the base model: on, off, or auto, where a device is there and the model is no large one without a GPU. The rows are those of data, else a few sentences that come with the program."`
	Dataset  `yaml:",inline"`
	Part     `yaml:",inline"`
	Template `yaml:",inline"`
	Targets  `yaml:",inline"`
	Length   `yaml:",inline"`
	Budget   `yaml:",inline"`
	GPU      `yaml:",inline"`
	Cache    `yaml:",inline"`
}

// The values of report.
const (
	ReportAuto = "auto"
	ReportOn   = "on"
	ReportOff  = "off"
)

// Wanted tells whether somebody asked for the report, who is to be told why there is none.
func (d Drift) Wanted() bool { return d.Report == ReportOn || d.Report == ReportAuto && d.Data != "" }

// Check checks all of them.
func (d Drift) Check() error {
	switch {
	case d.Report == ReportOff && d.Data != "":
		return Wrong("data", strconv.Quote(d.Data), "empty with report off: the report alone reads it")
	case d.Data == "" && d.Rows != "":
		return Wrong("rows", strconv.Quote(d.Rows), "only with data")
	case d.Data == "" && d.Reading != (Reading{}):
		return Wrong("data", "empty", "a data set where others of its settings are given")
	case d.TrainOnInputs && d.TrainOn == "last":
		return Wrong("train_on_inputs", "true", "false together with train_on last")
	}
	if d.Data != "" {
		if err := d.Dataset.Check(); err != nil {
			return err
		}
	}
	return first(oneOf("report", d.Report, ReportAuto, ReportOn, ReportOff), d.Template.Check(), d.Targets.Check(), d.Length.Check(),
		d.Budget.Check())
}
