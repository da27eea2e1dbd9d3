//go:build !js

package ollama

import (
	"encoding/json"
	"strings"
	"text/template"
	"time"
)

// message is what Ollama's templates see of one.
type message struct{ Role, Content, Thinking string }

// conversation is what Ollama is asked.
type conversation struct {
	messages []message
	system   string // the Modelfile's
	noThink  bool   // asked not to think
}

// functions of Ollama's templates, of which none that is written here needs one.
var functions = template.FuncMap{
	"json": func(v any) (string, error) {
		text, err := json.Marshal(v)
		return string(text), err
	},
	"currentDate": func(...string) string { return time.Now().Format(time.DateOnly) },
}

// render is the prompt that Ollama makes of a conversation: the Modelfile's system message comes first where the
// conversation has none there, messages of one role in a row become one.
func render(source string, c conversation) (string, error) {
	parsed, err := template.New("").Option("missingkey=zero").Funcs(functions).Parse(source)
	if err != nil {
		return "", err
	}
	messages := c.messages
	if c.system != "" && (len(messages) == 0 || messages[0].Role != system) {
		messages = append([]message{{Role: system, Content: c.system}}, messages...)
	}
	var joined []*message
	var systems []string
	for _, m := range messages {
		if m.Role == system {
			systems = append(systems, m.Content)
		}
		if n := len(joined); n > 0 && joined[n-1].Role == m.Role && m.Role != "tool" {
			joined[n-1].Content += "\n\n" + m.Content
			continue
		}
		joined = append(joined, &m)
	}
	var out strings.Builder
	err = parsed.Execute(&out, map[string]any{
		"System": strings.Join(systems, "\n\n"), "Messages": joined, "Response": "",
		"Think": !c.noThink, "IsThinkSet": c.noThink, "ThinkLevel": "",
	})
	return out.String(), err
}
