package chat

import (
	"encoding/json/jsontext"
	"fmt"
	"maps"
	"slices"
	"strings"

	"qlora-wgpu/internal/chat/jinja"
)

// given are the variables that a conversation gives its template by itself.
var given = []string{"messages", "tools", "add_generation_prompt"}

// CheckTemplateArgs wants an object of variables, as transformers takes them beside a conversation
// (chat_template_kwargs): none that the conversation itself gives. What nobody gives, a template finds undefined.
func CheckTemplateArgs(args jsontext.Value) error { return addArgs(map[string]jinja.Value{}, args) }

func addArgs(to map[string]jinja.Value, args jsontext.Value) error {
	if args == nil {
		return nil
	}
	value, err := jinja.FromJSON(args)
	if err != nil {
		return err
	}
	object, ok := value.(*jinja.Dict)
	if !ok {
		return fmt.Errorf("%.60s is no JSON object", args)
	}
	for name, v := range object.All() {
		if slices.Contains(given, name) {
			return fmt.Errorf("%s cannot be given: %s come from the conversation", name, strings.Join(given, ", "))
		}
		to[name] = v
	}
	return nil
}

// UnusedArgs names the run's template arguments that no template of the model mentions. A template that cannot be
// parsed says so where it is used.
func (t *Template) UnusedArgs() []string {
	var all []*jinja.Template
	for _, parse := range t.named {
		if template, err := parse(); err == nil {
			all = append(all, template)
		}
	}
	return unused(t.TemplateArgs, all...)
}

// unusedBy names the arguments of a conversation that its template does not mention.
func (t *Template) unusedBy(c Conversation) (names []string) {
	template, err := t.choose(c)
	if err != nil {
		return nil
	}
	for _, name := range unused(c.TemplateArgs, template) {
		names = append(names, fmt.Sprintf(unseenArgument+"%.60q", name))
	}
	return names
}

func unused(args jsontext.Value, templates ...*jinja.Template) (names []string) {
	given := map[string]jinja.Value{}
	if len(templates) == 0 || addArgs(given, args) != nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.ContainsFunc(templates, func(t *jinja.Template) bool { return t.Mentions(name) }) {
			names = append(names, name)
		}
	}
	return names
}
