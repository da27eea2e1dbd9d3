package chat

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Templates of the same identity write the same; the date counts as far as it shows.
func TestIdentity(t *testing.T) {
	morning := time.Date(2026, 3, 4, 9, 30, 0, 0, time.UTC)
	evening, next := morning.Add(9*time.Hour), morning.Add(24*time.Hour)
	identity := func(o Options, now time.Time) string {
		o.Now = now
		id, err := New(o).Identity()
		require.NoError(t, err)
		return string(id)
	}
	of := func(source string) Options {
		return Options{Templates: map[string]string{"default": source}, Tokens: map[string]string{"eos_token": "</s>"}, End: "</s>"}
	}
	for _, c := range []struct {
		source       string
		anHour, aDay bool // later it is the same
	}{
		{"{{ messages }}", true, true},
		{"{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% endif %}", true, false},
		{`{{ strftime_now( "%Y" ) }}`, true, true},
		{"{{ strftime_now('%H:%M') }}", false, true},
		{"{% set f = '%d' %}{{ strftime_now(f) }}", false, false},
		{"{% set f = strftime_now %}{{ f('%H') }}{{ strftime_now('%Y') }}", false, false},
		{"{{ strftime_now('%d' ~ '%H') }}", false, false},
		{"{% if strftime_now is not defined %}{% set today = '1' %}{% endif %}{{ strftime_now('%j') }}", true, false},
	} {
		source := c.source
		one := identity(of(source), morning)
		require.Equal(t, c.anHour, one == identity(of(source), evening), source)
		require.Equal(t, c.aDay, one == identity(of(source), next), source)
		for name, change := range map[string]func(*Options){
			"template": func(o *Options) { o.Templates = map[string]string{"default": source + " "} },
			"named":    func(o *Options) { o.Templates = map[string]string{"default": source, "tool_use": ""} },
			"token":    func(o *Options) { o.Tokens = map[string]string{"eos_token": "<s>"} },
			"end":      func(o *Options) { o.End = "" },
			"args":     func(o *Options) { o.TemplateArgs = []byte(`{"a":1}`) },
		} {
			o := of(source)
			change(&o)
			require.NotEqual(t, one, identity(o, morning), name)
		}
	}
}
