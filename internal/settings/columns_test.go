package settings

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseColumns(t *testing.T) {
	for text, want := range map[string]Columns{
		"":                              {},
		" ":                             {},
		"prompt=question,completion=ok": {Question: "question", Answer: "ok"},
		"question = Die Frage , Answer=Antwort,system=3": {Question: "Die Frage", Answer: "Antwort", System: "3"},
		"prompt=1,completion=2,header=no":                {Question: "1", Answer: "2", Header: new(false)},
		"header=yes":                                     {Header: new(true)},
		"messages=chosen":                                {Messages: "chosen"},
		"text=content,header=yes":                        {Text: "content", Header: new(true)},
		"prompt=a=b,completion=c":                        {Question: "a=b", Answer: "c"},
	} {
		got, err := ParseColumns(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
		require.Equal(t, want.Question+want.Messages+want.Text != "", got.Given())
	}
	for text, want := range map[string]string{
		"question":                             "each part is a name, = and a column",
		"prompt=,completion=b":                 "each part is a name, = and a column",
		"prompt=a":                             "prompt and completion go together",
		"system=a":                             "prompt and completion go together",
		"prompt=a,question=b,completion=c":     "question is there twice",
		"messages=a,text=b":                    "either prompt and completion, or messages, or text",
		"prompt=a,completion=b,text=c":         "either prompt and completion, or messages, or text",
		"system=a,text=b":                      "prompt and completion go together",
		"prompt=a,completion=a":                "each is a column of its own",
		"prompt=a,completion=b,system=a":       "each is a column of its own",
		"prompt=a,completion=b,header=perhaps": "none of them",
		"prompt=a,completion=b,picture=c":      "none of them",
	} {
		_, err := ParseColumns(text)
		require.ErrorContains(t, err, "data_columns is ", text)
		require.ErrorContains(t, err, want, text)
	}
}

// What is learned is part of a run's identity; a run that names no columns keeps the one it had.
func TestColumnsAreOfTheIdentity(t *testing.T) {
	plain, named := Default[Train](), Default[Train]()
	named.DataColumns = "prompt=a,completion=b"
	require.NotEqual(t, Identity(plain, ""), Identity(named, ""))
	require.Equal(t, []string{"data_columns was , is prompt=a,completion=b"}, Differences(plain, named))
	named.Model, named.Data = "m", "d"
	require.NoError(t, named.Check())
	named.DataColumns = "prompt=a"
	require.ErrorContains(t, named.Check(), "data_columns is ")
}
