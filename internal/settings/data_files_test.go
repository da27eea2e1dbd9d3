package settings

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDataFiles(t *testing.T) {
	exists := func(path string) bool { return path == "there:2" }
	for text, want := range map[string]DataFile{
		"a.jsonl":                  {"a.jsonl", 1, ""},
		" a.jsonl:2\n":             {"a.jsonl", 2, ""},
		"a.jsonl:0.5":              {"a.jsonl", 0.5, ""},
		"a.jsonl::1000":            {"a.jsonl", 1, ":1000"},
		"a.jsonl:2:1000":           {"a.jsonl", 2, ":1000"},
		"a.jsonl:2:900:960":        {"a.jsonl", 2, "900:960"},
		"a.jsonl::-60:":            {"a.jsonl", 1, "-60:"},
		"a.jsonl:":                 {"a.jsonl:", 1, ""},
		"a.jsonl::":                {"a.jsonl::", 1, ""},
		"a: b.jsonl":               {"a: b.jsonl", 1, ""},
		"12:30.txt":                {"12:30.txt", 1, ""},
		`C:\data\a.jsonl`:          {`C:\data\a.jsonl`, 1, ""},
		`C:\data\a.jsonl:3`:        {`C:\data\a.jsonl`, 3, ""},
		`C:2`:                      {`C:2`, 1, ""},
		"there:2":                  {"there:2", 1, ""},
		"org/set@v1.0:2":           {"org/set@v1.0", 2, ""},
		"hf.co/datasets/org/set:2": {"hf.co/datasets/org/set", 2, ""},
	} {
		got, err := Dataset{Data: text}.DataFiles(exists)
		require.NoError(t, err)
		require.Equal(t, []DataFile{want}, got, text)
	}
	got, err := Dataset{Data: "a:2\n\nb"}.DataFiles(exists)
	require.NoError(t, err)
	require.Equal(t, []DataFile{{"a", 2, ""}, {"b", 1, ""}}[1:], got[1:])
	require.Equal(t, "a:2", got[0].Path, "of one letter it may be a drive")
	for _, text := range []string{"a.jsonl:0", "a.jsonl:900:960", "a.jsonl:0.0001"} {
		_, err := Dataset{Data: text}.DataFiles(exists)
		require.ErrorContains(t, err, "allowed: a weight from 0.001 to 100 (PATH:WEIGHT, and rows behind a second colon: a.jsonl::")
	}
	_, err = Dataset{Data: "a.jsonl::-60"}.DataFiles(exists)
	require.ErrorContains(t, err, `data is "a.jsonl::-60", allowed: so many of the first rows, or a range (-60: are the last 60)`)
}
