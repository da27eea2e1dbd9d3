package usererr

import (
	jsonv1 "encoding/json"
	"encoding/json/v2"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlain(t *testing.T) {
	type inner struct {
		Factor float64 `json:"factor"`
	}
	type settings struct {
		Rank  int             `json:"r"`
		On    *bool           `json:"on"`
		Names []string        `json:"names"`
		Rope  inner           `json:"rope"`
		Other map[string]int8 `json:"other"`
	}
	for text, want := range map[string]string{
		`{"r":"a"}`:                "r is a string, a whole number was wanted",
		`{"on":[1]}`:               "on is a list, true or false was wanted",
		`{"names":{}}`:             "names is an object, a list was wanted",
		`{"rope":{"factor":true}}`: "rope.factor is true",
		`{"rope":3}`:               "rope is ",
		`[1]`:                      "the value is a list, an object was wanted",
		`{"other":{"a":1000}}`:     "other",
		`{"r":1`:                   "no valid JSON after 6 bytes",
		`{"r" 1}`:                  "no valid JSON after ",
		``:                         "no valid JSON after 0 bytes: it ends too soon",
	} {
		var s settings
		for _, err := range []error{json.Unmarshal([]byte(text), &s), jsonv1.Unmarshal([]byte(text), &s)} {
			require.Error(t, err, text)
			said := New("read", "file", "beside: %w", fmt.Errorf("wrapped: %w", err))
			require.Contains(t, said.Error(), "read file: beside: wrapped: ")
			for _, word := range []string{"Go ", "unmarshal", "json:", "jsontext", "int8", "usererr", "struct"} {
				require.NotContains(t, said.Error(), word, text)
			}
			require.ErrorIs(t, said, err, "what it is stays known")
			if text != `{"rope":{"factor":true}}` { // the older version calls both booleans bool
				require.Contains(t, said.Error(), want)
			}
		}
	}
	_, err := strconv.ParseInt("abc", 10, 64)
	require.EqualError(t, New("a", "", "%w", err), `a: "abc" is no number`)
	_, err = strconv.ParseInt("99999999999999999999", 10, 64)
	require.EqualError(t, New("a", "", "%w", err), `a: "99999999999999999999" is out of range`)
	require.EqualError(t, New("a", "", "%w", errors.New("as it was")), "a: as it was")
}

func TestOneLine(t *testing.T) {
	require.Equal(t, `a\nb\x1b[31mc\u202ed\xffé`, OneLine("a\nb\x1b[31mc\u202ed\xffé"))
	require.Equal(t, `read a\nb: x\x07`, New("read", "a\nb", "x\a").Error())
}
