package jinja

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var fixtureTime = time.Date(2024, 12, 3, 9, 5, 7, 0, time.UTC)

func fixtureVariables(t testing.TB) map[string]Value {
	messages, err := FromJSON(jsontext.Value(`[
		{"role": "system", "content": "Answer in one sentence."}, {"role": "user", "content": "One?"}, {"role": "assistant", "content": "Two."},
		{"role": "user", "content": "Three?"}, {"role": "assistant", "content": "Four."}, {"role": "user", "content": "Five?"}, {"role": "assistant", "content": "Six."}]`))
	require.NoError(t, err)
	return map[string]Value{"messages": messages, "bos_token": "<s>", "eos_token": "</s>"}
}

// Small templates over the whole language, with the text that Jinja2 gives, or null where it raises.
func TestLanguage(t *testing.T) {
	data, err := os.ReadFile("testdata/language.json")
	require.NoError(t, err)
	var cases []struct {
		Template string  `json:"template"`
		Text     *string `json:"text"`
	}
	require.NoError(t, json.Unmarshal(data, &cases))
	require.NotEmpty(t, cases)
	for _, c := range cases {
		t.Run(c.Template[:min(60, len(c.Template))], func(t *testing.T) {
			template, err := Parse(c.Template)
			var out Output
			if err == nil {
				out, err = template.Render(fixtureVariables(t), fixtureTime)
			}
			if c.Text == nil {
				require.Error(t, err, "%q gave %q", c.Template, out.Text)
				require.IsType(t, &Error{}, err)
				return
			}
			require.NoError(t, err, "%q", c.Template)
			require.Equal(t, *c.Text, out.Text, "%q", c.Template)
		})
	}
}
