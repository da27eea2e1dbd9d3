package chat

import (
	"encoding/json/v2"
	"fmt"
	"regexp"
	"strings"
	"time"

	"qlora-wgpu/internal/chat/jinja"
)

// Identity holds all that decides what the template makes of a conversation; templates of the same identity give the
// same tokens. Of the date there is what templates show of it, so that most identities outlive the day.
func (t *Template) Identity() ([]byte, error) {
	dates := map[string]string{}
	for _, source := range t.Templates {
		if err := datesIn(dates, source, t.Now); err != nil {
			return nil, err
		}
	}
	return json.Marshal(struct {
		Templates, Tokens map[string]string
		End, Args         string
		Dates             map[string]string
	}{t.Templates, t.Tokens, t.End, string(t.TemplateArgs), dates}, json.Deterministic(true))
}

// What templates do with strftime_now: call it with a format that stands there, or ask whether it is there.
var (
	dateCall  = regexp.MustCompile(`strftime_now\(\s*("[^"\\{}]*"|'[^'\\{}]*')\s*\)`)
	dateAsked = regexp.MustCompile(`strftime_now\s+is\s+(not\s+)?defined`)
)

// datesIn adds what a template's calls of strftime_now give, by call. One that does anything else with it may show all
// of the time.
func datesIn(dates map[string]string, source string, now time.Time) error {
	calls := dateCall.FindAllString(source, -1)
	if known := len(calls) + len(dateAsked.FindAllString(source, -1)); known < strings.Count(source, "strftime_now") {
		dates[""] = now.Format(time.RFC3339Nano)
	}
	for _, call := range calls {
		template, err := jinja.Parse("{{ " + call + " }}")
		if err != nil {
			return fmt.Errorf("%s: %w", call, err)
		}
		out, err := template.Render(nil, now)
		if err != nil {
			dates[call] = err.Error() // it says so wherever it is called
			continue
		}
		dates[call] = out.Text
	}
	return nil
}
