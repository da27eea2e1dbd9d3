package dataset

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

func TestAmbiguousColumns(t *testing.T) {
	for _, c := range []struct {
		path, content, want string
		columns             []string
		header              bool
		preview             [][]string
		answer              settings.Columns // that makes it clear
		rows                int
	}{
		{
			"x.csv", "Frage;Antwort;Thema\nWas ist 1?;Eins.;Mathe\nUnd 2?;Zwei.;Mathe\n",
			`x.csv: line 1: bad format: which column is the question, and which the answer? The columns are "Frage", "Antwort", "Thema" ` +
				`(name the two question and answer in the file, or say which they are, such as ` +
				`--data-columns 'prompt=Frage,completion=Antwort,header=yes')`,
			[]string{"Frage", "Antwort", "Thema"}, true,
			[][]string{{"Frage", "Antwort", "Thema"}, {"Was ist 1?", "Eins.", "Mathe"}, {"Und 2?", "Zwei.", "Mathe"}},
			settings.Columns{Question: "Frage", Answer: "Antwort", Header: new(true)}, 2,
		},
		{
			"pasted", "dog\tHund\ncat\tKatze\n",
			`pasted: line 1: bad format: does the first row ("dog", "Hund") name the columns, or is it an example? (name the columns ` +
				`question and answer in a row in front, or say what it is: --data-columns prompt=1,completion=2,header=no, or header=yes)`,
			[]string{"dog", "Hund"}, true, [][]string{{"dog", "Hund"}, {"cat", "Katze"}}, settings.Columns{Header: new(false)}, 2,
		},
		{
			"x.tsv", "1\tWho?\tA cat.\n2\tWhat?\tA dog.\n3\tb\tc\n4\tb\tc\n5\tb\t" + strings.Repeat("é", 300) + "\n6\tb\tc\n",
			`which they are, such as --data-columns 'prompt=1,completion=2,header=no')`,
			[]string{"column 1", "column 2", "column 3"}, false,
			[][]string{
				{"1", "Who?", "A cat."}, {"2", "What?", "A dog."}, {"3", "b", "c"}, {"4", "b", "c"}, {"5", "b", strings.Repeat("é", 200) + "…"},
			},
			settings.Columns{Question: "2", Answer: "3", Header: new(false)}, 6,
		},
		{
			"x.csv", "question,answer,response\na,b,c\n",
			`line 2: bad format: which column is the question, and which the answer? The columns are "question", "answer", "response"`,
			[]string{"question", "answer", "response"}, true, [][]string{{"question", "answer", "response"}, {"a", "b", "c"}},
			settings.Columns{Question: "question", Answer: "response"}, 1,
		},
		{
			"x.jsonl", `{"prompt":"p","chosen":"c","rejected":"r","n":1}` + "\n" + `{"rejected":"s","prompt":null,"more":[1, 2]}`,
			`--data-columns 'prompt=prompt,completion=chosen')`,
			[]string{"prompt", "chosen", "rejected", "n"}, false, [][]string{{"p", "c", "r", "1"}, {"", "", "s", ""}},
			settings.Columns{}, 0,
		},
	} {
		t.Run(c.path, func(t *testing.T) {
			_, err := Read(strings.NewReader(c.content), c.path)
			require.ErrorContains(t, err, c.want)
			require.True(t, usererr.Is(err, usererr.Format))
			var unclear *AmbiguousColumns
			require.ErrorAs(t, err, &unclear)
			require.Equal(t, c.columns, unclear.Columns)
			require.Equal(t, c.header, unclear.Header)
			require.Equal(t, c.preview, unclear.Preview)
			if c.rows > 0 {
				s, err := ReadColumns(strings.NewReader(c.content), c.path, c.answer)
				require.NoError(t, err)
				require.Len(t, s.rows, c.rows)
			}
		})
	}
}
