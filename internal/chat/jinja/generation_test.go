package jinja

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Spans as transformers' AssistantTracker gives them.
func TestGenerationMarks(t *testing.T) {
	for source, want := range map[string][]Span{
		"a{% generation %}bc{% endgeneration %}d":                                                   {{1, 3}},
		"é{%- generation -%} x {%- endgeneration -%} y":                                             {{2, 3}},
		"{% for i in [1, 2] %}{{ i }}:{% generation %}{{ i * 11 }};{% endgeneration %}{% endfor %}": {{2, 5}, {7, 10}},
		"{% generation %}{% endgeneration %}":                                                       {{0, 0}},
		"{% generation %}{% set x = 1 %}{% endgeneration %}{{ x is defined }}":                      {{0, 0}},
		// What a macro or a set block writes has no place yet.
		"ab{% macro m() %}cd{% generation %}efg{% endgeneration %}{% endmacro %}{{ m() }}": {{2, 5}},
		"ab{% set x %}c{% generation %}d{% endgeneration %}{% endset %}ef{{ x }}":          {{2, 3}},
		"no mark": nil,
	} {
		template, err := Parse(source)
		require.NoError(t, err)
		require.Equal(t, want != nil, template.Marked, source)
		out, err := template.Render(nil, fixtureTime)
		require.NoError(t, err)
		require.Equal(t, want, out.Generated, source)
	}
	_, err := Parse("{% for i in [1] %}{% generation %}{% break %}{% endgeneration %}{% endfor %}")
	require.Error(t, err)
	template, err := Parse("{% generation %}{% set x = 1 %}{% endgeneration %}{{ x is defined }}")
	require.NoError(t, err)
	out, err := template.Render(nil, fixtureTime)
	require.NoError(t, err)
	require.Equal(t, "False", out.Text, "the marks surround variables of their own")
}

// json.loads, which Jinja2 has no filter for.
func TestFromJSONFilter(t *testing.T) {
	for source, want := range map[string]string{
		`{{ ('{"b": [1, 2.5, null], "a": "é"}' | from_json).b }}`:             "[1, 2.5, None]",
		`{% for k in '{"z": 1, "a": 2}' | from_json %}{{ k }}{% endfor %}`:    "za",
		`{{ '"x"' | from_json }} {{ ' 7 ' | from_json + 1 }}`:                 "x 8",
		`{{ 'true' | from_json is true }} {{ 'null' | from_json is none }}`:   "True True",
		`{{ [1, {'a': none}] | tojson | from_json == [1, {'a': none}] }}`:     "True",
		`{% if false %}{{ '{' | from_json }}{% endif %}never read, never bad`: "never read, never bad",
	} {
		template, err := Parse(source)
		require.NoError(t, err)
		out, err := template.Render(nil, fixtureTime)
		require.NoError(t, err, source)
		require.Equal(t, want, out.Text, source)
	}
	for _, source := range []string{"{{ '{' | from_json }}", "{{ 5 | from_json }}", "{{ '1 2' | from_json }}", "{{ '' | from_json }}"} {
		template, err := Parse(source)
		require.NoError(t, err)
		_, err = template.Render(nil, fixtureTime)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, Runtime, e.Reason, source)
	}
}
