package jinja

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Templates that would hang, overflow the stack or exhaust the memory are refused with their line, in little time.
func TestHostileTemplates(t *testing.T) {
	many := func(s string, n int) string { return strings.Repeat(s, n) }
	for name, source := range map[string]string{
		"endless recursion":   "\n{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
		"mutual recursion":    "\n{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
		"branching recursion": "\n{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(40) }}",
		"large range":         "\n{{ range(10**9) | length }}",
		"extreme range":       "\n{{ range(-9223372036854775807, 9223372036854775807, 4611686018427387904) | length }}{{ range(10**18) }}",
		"nested loops": "\n{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor " +
			"%}{% endfor %}",
		"doubling text":      "\n{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
		"doubling with plus": "\n{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
		"doubling list":      "\n{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
		"shared list":        "\n{% set n = namespace(s=[1]) %}{% for i in range(90) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}",
		"shared list as JSON": "\n{% set n = namespace(s=[1]) %}{% for i in range(90) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s " +
			"| tojson }}",
		"shared list compared": "\n{% set n = namespace(s=[1], t=[1]) %}{% for i in range(90) %}{% set n.s = [n.s, n.s] %}{% set n.t = " +
			"[n.t, n.t] %}{% endfor %}{{ n.s == n.t }}",
		"deep list":           "\n{% set n = namespace(s=[]) %}{% for i in range(99999) %}{% set n.s = [n.s] %}{% endfor %}{{ n.s }}",
		"repeated text":       "\n{{ 'x' * 10**12 }}",
		"repeated list":       "\n{{ [1] * 10**12 }}",
		"repeated repetition": "\n{{ (('x' * 10000) * 10000) * 10000 }}",
		"repeated nothing":    "\n{{ [] * 10**18 }}{{ 1 / 0 }}",
		"wide indent":         "\n{{ 'a\\nb' | indent(10**12) }}",
		"wide JSON":           "\n{{ [[[1]]] | tojson(indent=10**12) }}",
		"replacement":         "\n{% set a = 'x' * 100000 %}{{ a.replace('x', a) }}",
		"replacement of ''":   "\n{% set a = 'x' * 100000 %}{{ a | replace('', a) }}",
		"join":                "\n{% set a = 'x' * 100000 %}{{ a.join(a | list) }}",
		"huge output":         "\n{% set a = 'x' * 1000000 %}{% for i in range(1000) %}{{ a }}{% endfor %}",
		"slow search":         "\n{% set a = 'x' * 10000000 %}{% for i in range(99999) %}{% if 'y' in a %}{% endif %}{% endfor %}",
		"slow strip":          "\n{% set a = ' ' * 10000000 %}{% for i in range(99999) %}{% if a.strip() %}{% endif %}{% endfor %}",
		"slow length":         "\n{% set a = 'é' * 10000000 %}{% for i in range(99999) %}{{ a | length }}{% endfor %}",
		"slow power":          "\n{{ (-1) ** (10**18) }}",
		"integer overflow":    "\n{{ 9223372036854775807 + 1 }}",
		"product overflow":    "\n{{ (0 - 9223372036854775807 - 1) * -1 }}",
		"quotient overflow":   "\n{{ (0 - 9223372036854775807 - 1) // -1 }}",
		"slow sort":           "\n{% set a = range(99999) | list %}{% for i in range(9999) %}{% set b = a | sort %}{% endfor %}",
		"slow unique":         "\n{{ range(99999) | unique | length }}",
		"endless caller": "\n{% macro m() %}{{ caller() }}{% endmacro %}{% macro n() %}{% call m() %}{{ n() }}{% endcall %}{% endmacro %}" +
			"{{ n() }}",
		"wide format":             "\n{{ '%999999999d' | format(1) }}",
		"wide star":               "\n{{ '%*d' | format(10**9, 1) }}",
		"precise format":          "\n{{ '{:.999999999f}'.format(1.5) }}",
		"many wide formats":       "\n{% set f = '%65000s' * 10000 %}{% set a = range(10000) | list %}{{ f | format(*a) }}",
		"many arguments":          "\n{% set a = range(99999) | list %}{% for i in a %}{{ range(*a) }}{% endfor %}",
		"many escapes":            "\n{% set a = '&' * 1000000 %}{% for i in range(1000) %}{% set b = a | e %}{% endfor %}",
		"wide center":             "\n{{ 'a' | center(10**12) }}",
		"many slices":             "\n{% for i in range(99999) %}{% set b = [] | slice(99999) %}{% endfor %}",
		"JSON in JSON":            "\n{% set a = '[' ~ '1,' * 1000000 ~ '1]' %}{% for i in range(99) %}{% set b = a | from_json %}{% endfor %}",
		"call blocks":             "\n" + many("{% call f() %}", 30000),
		"with blocks":             "\n" + many("{% with %}", 30000),
		"map of map":              "\n{{ [[1]] | map('map'" + many(", 'map'", 500) + ") | list }}",
		"parentheses":             "\n{{ " + many("(", 100000),
		"lists":                   "\n{{ " + many("[", 100000),
		"signs":                   "\n{{ " + many("-", 100000) + "1 }}",
		"not":                     "\n{{ " + many("not ", 100000) + "1 }}",
		"sums":                    "\n{{ 1" + many("+1", 100000) + " }}",
		"powers":                  "\n{{ 1" + many("**1", 100000) + " }}",
		"ifs":                     "\n" + many("{% if 1 %}", 30000),
		"elifs":                   "\n{% if 1 %}" + many("{% elif 1 %}", 30000) + "{% endif %}",
		"inline ifs":              "\n{{ 1" + many(" if 1 else 1", 30000) + " }}",
		"inline ifs without else": "\n{{ 1" + many(" if 1", 100000) + " }}",
		"attributes":              "\n{{ a" + many(".a", 100000) + " }}",
		"filters":                 "\n{{ a" + many("|trim", 100000) + " }}",
		"tests":                   "\n{{ a" + many(" is none", 100000) + " }}",
		"many nodes":              "\n" + many("{{1}}", 200000),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			template, err := Parse(source)
			if err == nil {
				_, err = template.Render(fixtureVariables(t), fixtureTime)
			}
			// On one idle core the slowest takes half a second.
			require.Less(t, time.Since(start), 10*time.Second)
			var e *Error
			require.ErrorAs(t, err, &e)
			if name != "large source" {
				require.Equal(t, 2, e.Line, "%v", err)
			}
		})
	}
}

// What one hostile string could do to the scanner must take linear time.
func TestScannerIsLinear(t *testing.T) {
	for _, unit := range []string{"'a' ", "{", "{{1}}\n", "{#-#}", "{% raw %}{%", "  \n", "{{'", `\\`} {
		start := time.Now()
		_, err := Parse("{{ " + strings.Repeat(unit, 1<<19/len(unit)))
		require.Error(t, err)
		_, _ = Parse(strings.Repeat(unit, 1<<19/len(unit)))
		require.Less(t, time.Since(start), 5*time.Second, "%q", unit)
	}
}

func TestUnsupportedIsNamed(t *testing.T) {
	for source, name := range map[string]string{
		"\n{% include 'a' %}": "include", "\n{% import 'a' as b %}": "import",
		"\n{% extends 'a' %}": "extends", "\n{% block a %}{% endblock %}": "block",
		"\n{% do f() %}": "do", "\n{{ x | frobnicate }}": "frobnicate", "\n{{ x | frobnicate if true }}": "frobnicate",
		"\n{{ x is frobnicated }}": "frobnicated", "\n{{ cycler(1) }}": "cycler",
		"\n{% if true %}{{ x is frobnicated }}{% endif %}": "frobnicated", "\n{{ '{:{}}'.format(1, 2) }}": "field",
		"\n{% for a in b recursive %}{% endfor %}": "recursive", "\n{{ {[1]: 2} }}": "key of a dictionary",
		"\n{{ namespace() }}": "Namespace", "\n{{ strftime_now('%Q') }}": "%Q",
		"\n{{ 99999999999999999999 }}": "99999999999999999999", "\n{{ a[1, 2] }}": "subscript",
		"\n{{ ['a'] | map('frobnicate') }}": "frobnicate", "\n{{ ['a'] | select('frobnicated') }}": "frobnicated",
		`{{ "` + "\n" + `\N{DASH}" }}`: "N",
	} {
		template, err := Parse(source)
		if err == nil {
			_, err = template.Render(nil, fixtureTime)
		}
		var e *Error
		require.ErrorAs(t, err, &e, source)
		require.Equal(t, Unsupported, e.Reason, "%v", err)
		require.ErrorContains(t, err, name)
	}
}

func TestLineOfOutput(t *testing.T) {
	template, err := Parse("one\n{% for i in [1] %}\n{{ 'two' }}\n{% endfor %}\nthree")
	require.NoError(t, err)
	out, err := template.Render(nil, fixtureTime)
	require.NoError(t, err)
	require.Equal(t, "one\ntwo\nthree", out.Text)
	for text, line := range map[string]int{"one": 1, "two": 3, "three": 5} {
		require.Equal(t, line, out.Line(strings.Index(out.Text, text)), text)
	}
}

func TestFromJSON(t *testing.T) {
	for _, bad := range []string{
		"", "[", "[1,]", `{"a"}`, "1 2", `{"a":1,"a":2}`, "99999999999999999999", strings.Repeat("[", 200) + strings.Repeat("]", 200),
	} {
		_, err := FromJSON(jsontext.Value(bad))
		require.Error(t, err, bad)
	}
	v, err := FromJSON(jsontext.Value(`{"b": [1, 2.5, "x", null, true], "a": {}}`))
	require.NoError(t, err)
	template, err := Parse("{{ v }} {{ v | tojson }}")
	require.NoError(t, err)
	out, err := template.Render(map[string]Value{"v": v}, fixtureTime)
	require.NoError(t, err)
	require.Equal(t, `{'b': [1, 2.5, 'x', None, True], 'a': {}} {"b": [1, 2.5, "x", null, true], "a": {}}`, out.Text)
}

func FuzzRender(f *testing.F) {
	paths, err := filepath.Glob("../testdata/templates/*.jinja")
	require.NoError(f, err)
	for _, path := range paths {
		source, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(string(source))
	}
	var language []struct{ Template string }
	data, err := os.ReadFile("testdata/language.json")
	require.NoError(f, err)
	require.NoError(f, json.Unmarshal(data, &language, json.MatchCaseInsensitiveNames(true)))
	for _, c := range language {
		f.Add(c.Template)
	}
	f.Add("{{range(100001)}}{{range(99999)}}")
	f.Add("{% set a, b = messages[::-1][:2] %}{{ (a.content | upper)[1:] ~ b.get('x', [1.5, -3 // 2]) }}")
	f.Fuzz(func(t *testing.T, source string) {
		begin := time.Now()
		defer func() { require.Less(t, time.Since(begin), 20*time.Second, "the work of a template is bounded") }()
		template, err := Parse(source)
		if err != nil {
			require.IsType(t, &Error{}, err)
			return
		}
		variables := fixtureVariables(t)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m := &machine{now: fixtureTime, out: &output{}}
		_, err = m.render(template, variables)
		runtime.ReadMemStats(&after)
		if err != nil {
			require.IsType(t, &Error{}, err)
			require.LessOrEqual(t, len(err.Error()), maxMessage+40)
		}
		// What was really done is bounded by what was counted: in allocated bytes, which tell the same on every machine.
		counted := uint64(min(m.steps, maxSteps))*1024 + uint64(m.bytes)*8 + uint64(len(source))*64 + 1<<20
		require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, counted, "%d steps, %d bytes", m.steps, m.bytes)
	})
}
