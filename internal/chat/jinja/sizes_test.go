package jinja

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// Whatever grows with the size of a value is counted, in each kind of place: the body is repeated until it is stopped.
func TestHostileSizes(t *testing.T) {
	many := strings.Repeat
	for name, c := range map[string]struct{ before, repeated string }{
		"int of a text":          {"{% set s = '1' * 20000000 %}", "{{ s | int }}"},
		"float of a text":        {"{% set s = '1' * 20000000 %}", "{{ s | float }}"},
		"is upper":               {"{% set s = 'A' * 20000000 %}", "{{ s is upper }}"},
		"is lower of non-ASCII":  {"{% set s = 'ß' * 10000000 %}", "{{ s is lower }}"},
		"isdigit":                {"{% set s = '1' * 20000000 %}", "{{ s.isdigit() }}"},
		"isupper":                {"{% set s = 'É' * 10000000 %}", "{{ s.isupper() }}"},
		"map to the first":       {"{% set s = '1' * 20000000 %}", "{{ [s] | map('first') | list }}{{ s | list | length }}"},
		"titles":                 {"{% set s = 'éa ' * 1000000 %}", "{% set t = s.title() %}"},
		"large key":              {"{% set s = 'x' * 20000000 %}{% set d = dict() %}", "{% if d[s] %}{% endif %}"},
		"large key of get":       {"{% set s = 'x' * 20000000 %}{% set d = dict() %}", "{{ d.get(s, '') }}"},
		"large key in":           {"{% set s = 'x' * 20000000 %}{% set d = {s: 1} %}", "{% if s in d %}{% endif %}"},
		"large key of items":     {"{% set s = 'x' * 20000000 %}{% set d = {s: 1} %}", "{% if d.items() %}{% endif %}"},
		"large key of a literal": {"{% set s = 'x' * 20000000 %}", "{% set d = {s: 1} %}"},
		"large key of dict":      {"{% set s = 'x' * 20000000 %}{% set d = {s: 1} %}", "{% set e = dict(d) %}"},
		"large keys compared":    {"{% set s = 'x' * 20000000 %}", "{% if {s: 1} == {s ~ '': 1} %}{% endif %}"},
		"large texts compared":   {"{% set s = 'x' * 20000000 %}{% set t = s ~ '' %}", "{{ s == t }}{{ s < t }}"},
		"large needle":           {"{% set s = ('a' * 9000000 ~ 'b') * 3 %}{% set t = 'a' * 9000001 %}", "{{ s.count(t) }}{{ s.rfind(t) }}"},
		"characters of a text":   {"{% set s = 'x' * 20000000 %}", "{{ s[-1] }}"},
		"slice of a text":        {"{% set s = 'é' * 10000000 %}", "{% set t = s[1:] %}"},
		"rsplit with maxsplit":   {"{% set s = 'a ' * 10000000 %}", "{% set t = s.rsplit('b', 1) %}"},
		"strip of characters":    {"{% set s = 'x' * 20000000 %}", "{% set t = 'a'.strip(s) %}"},
		"strip to nothing":       {"{% set s = 'é' * 10000000 %}", "{% set t = s.strip('é') %}"},
		"startswith one of many": {"{% set s = 'x' * 20000000 %}{% set t = s ~ '' %}", "{% if s.startswith((t, t)) %}{% endif %}"},
		"groups of attributes":   {"{% set s = 'a.' * 3000000 %}", "{{ [1] | map(attribute=s) | list }}"},
		"select by a test":       {"{% set s = 'A' * 20000000 %}", "{{ ([s] * 99999) | select('upper') | length }}"},
		"map by a filter":        {"{% set s = '1' * 20000000 %}", "{{ ([s] * 99999) | map('int') | length }}"},
		"slice backwards":        {"{% set s = 'x' * 20000000 %}", "{{ s[::-1] }}"},
		"text of escapes":        {"{% set s = '\\x01' * 20000000 %}", "{{ [s] }}"},
		"JSON of escapes":        {"{% set s = '\\x01' * 20000000 %}", "{{ s | tojson }}"},
		"JSON in ASCII":          {"{% set s = '😀' * 5000000 %}", "{{ s | tojson(ensure_ascii=true) }}"},
		"lines of nothing":       {"{% set s = '\\n' * 20000000 %}", "{{ s | indent }}"},
		"splitlines":             {"{% set s = '\\n' * 20000000 %}", "{{ s.splitlines() | length }}"},
		"words":                  {"{% set s = 'a ' * 10000000 %}", "{{ s.split() | length }}"},
		"split":                  {"{% set s = 'a ' * 10000000 %}", "{{ s.split(' ') | length }}"},
		"captures in captures": {
			"{% set s = 'x' * 20000000 %}{% macro f(n) %}{{ s }}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}", "{{ f(40) }}",
		},
		"dates":              {"{% set s = '%A' * 10000000 %}", "{{ strftime_now(s) }}"},
		"replacement by one": {"{% set s = 'ab' * 10000000 %}", "{{ s.replace('a', 'cd') }}"},
		"sums of texts":      {"{% set s = 'x' * 1000 %}", "{{ ([s] * 99999) | sum(start='') }}"},
		"sort by large keys": {"{% set s = 'X' * 60000 %}", "{{ ([s] * 99999) | sort }}"},
		"methods that stay":  {"{% set n = namespace(l=[]) %}", many("{% set n.l = [n.l, 'a'.strip, [], {}] %}", 99)},
		"macros that stay":   {"{% set n = namespace(l=[]) %}", many("{% macro f() %}{% endmacro %}{% set n.l = [n.l, f] %}", 99)},
		"many parameters":    {"{% macro f(" + many("a,", 99999) + "a) %}{% endmacro %}", "{{ f() }}"},
		"far variable": {"{% set x = 1 %}",
			many("{% for i in [1] %}", 150) + many("{{ x }}", 999) + many("{% endfor %}", 150)},
		"JSON by indents": {"{% set n = namespace(s=[1]*100) %}{% for i in range(90) %}{% set n.s = [n.s] %}{% endfor %}",
			"{% set t = n.s | tojson(indent=1) %}"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			template, err := Parse("\n" + c.before + "{% for i in range(99999) %}" + c.repeated + "{% endfor %}")
			require.NoError(t, err)
			_, err = template.Render(nil, fixtureTime)
			// On one idle core the slowest takes half a second.
			require.Less(t, time.Since(start), 10*time.Second)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, Limit, e.Reason, "%v", err)
			require.Equal(t, 2, e.Line)
		})
	}
}

// Every built-in counts a text that it is given, or takes no longer for a long one.
func TestEveryBuiltinIsCounted(t *testing.T) {
	const size = 4 << 20
	for in, builtins := range []map[string]builtin{inFilters: filters, inTests: tests, inMethods: stringMethods} {
		require.NotEmpty(t, builtins)
		for name := range constant[in] {
			require.Contains(t, builtins, name)
		}
		for name, f := range builtins {
			for _, unit := range []string{"x", " "} {
				operand, fastest := strings.Repeat(unit, size), time.Hour
				m := &machine{}
				for range 3 {
					m = &machine{out: &output{}}
					start := time.Now()
					func() {
						var err error
						defer catch(&err)
						m.apply(table(in), name, f, operand, args{})
					}()
					fastest = min(fastest, time.Since(start))
				}
				if m.steps < size/readBytes {
					require.Less(t, fastest, time.Millisecond, "%s of %q: %d steps", name, unit, m.steps)
				}
			}
		}
	}
}

// An error may quote a value: no more of it than a person reads.
func TestErrorsAreShort(t *testing.T) {
	for _, source := range []string{
		"{% set s = 'x' * 9000000 %}{{ [1][s].a }}", "{% set s = 'x' * 9000000 %}{{ raise_exception(s) }}",
		"{{ " + strings.Repeat("x", 9999) + "}}",
		"{% set s = 'é' * 9000000 %}{{ [1] | select(s) | list }}",
	} {
		template, err := Parse(source)
		if err == nil {
			_, err = template.Render(nil, fixtureTime)
		}
		require.Error(t, err)
		require.Less(t, len(err.Error()), maxMessage+40)
		require.True(t, utf8.ValidString(err.Error()))
	}
}
