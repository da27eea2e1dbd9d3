package chat

import (
	"encoding/json/jsontext"
	"fmt"
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
