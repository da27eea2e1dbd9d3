package settings

import (
	"strconv"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// Columns says which columns of a data set are learned, where their names do not tell: each is a name from the file (in
// any case, where no other fits), or in a table a number from 1, and empty where the file's own names are to decide.
type Columns struct {
	Question, Answer, System string
	Messages                 string // a column of turns, alone
	Text                     string // a column of texts, alone
	Header                   *bool  // whether the first row of a table has names; nil: that is found out

	// what else is known of the file: its format and container (ParseDataFormat), and the source of a template that makes
	// rows of its rows; empty: they are found out, and rows are taken as they are
	Format, Container, Template string
}

// Given tells whether it is named what is learned.
func (c Columns) Given() bool { return c.Question != "" || c.Messages != "" || c.Text != "" }

// ParseColumns reads data_columns, "prompt=Frage,completion=Antwort,system=3,header=yes": what is learned as what; or
// "messages=NAME", a column of turns, or "text=NAME". A name within a column of objects is "column.name". All
// but prompt (or question) and completion (or answer) may be left out, and header alone may stand.
func ParseColumns(text string) (Columns, error) {
	var c Columns
	wrong := func(reason string) (Columns, error) {
		const allowed = "prompt=NAME,completion=NAME, and at will system=NAME and header=yes or no; or messages=NAME; or text=NAME"
		return Columns{}, Wrong("data_columns", strconv.Quote(text), allowed).Hinted("%s", reason)
	}
	if strings.TrimSpace(text) == "" {
		return c, nil
	}
	places := map[string]*string{
		"prompt": &c.Question, "question": &c.Question, "completion": &c.Answer, "answer": &c.Answer, "system": &c.System,
		"messages": &c.Messages, "text": &c.Text,
	}
	for part := range strings.SplitSeq(text, ",") {
		what, name, found := strings.Cut(part, "=")
		what, name = strings.ToLower(strings.TrimSpace(what)), strings.TrimSpace(name)
		place := places[what]
		switch {
		case !found || name == "":
			return wrong("each part is a name, = and a column; a column with a comma in its name is given by its number")
		case what == "header" && c.Header == nil && (name == "yes" || name == "no"):
			c.Header = new(name == "yes")
		case place == nil:
			return wrong(usererr.OneLine(strconv.Quote(part)) + " is none of them")
		case *place != "":
			return wrong(what + " is there twice")
		default:
			*place = name
		}
	}
	if (c.Question == "") != (c.Answer == "") || c.System != "" && c.Question == "" {
		return wrong("prompt and completion go together")
	}
	if c.Messages != "" && c.Question+c.Text != "" || c.Text != "" && c.Question != "" {
		return wrong("either prompt and completion, or messages, or text")
	}
	if c.Question == c.Answer && c.Question != "" || c.System != "" && (c.System == c.Question || c.System == c.Answer) {
		return wrong("each is a column of its own")
	}
	return c, nil
}
