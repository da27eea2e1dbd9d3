// Package training holds chat templates for training on conversations of families whose own template leaves out what
// they hold, as thoughts of earlier turns or what is said beside a call, refuses it, or moves it once other turns
// follow. These are prefix-preserving (what follows a turn changes nothing of it) and mark with {% generation %} what
// is learned; of a conversation that the family's own template keeps as it is the text is the same. They are no
// replacement for that where the model answers.
package training

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed *.jinja
var files embed.FS

// family is told by what its own template holds.
type family struct {
	name    string
	markers []string
	without string // what templates of later models hold, which write calls in another way; empty: nothing
	file    string
	set     string // in front of the template
}

// Qwen's models that always think (QwQ, Qwen3 Thinking) are asked for an answer with an opened thought; those that
// never do have a template that loses nothing.
var families = []family{
	{
		"Qwen3 Thinking", []string{"<|im_start|>", `assistant\n<think>\n`, "</think>", "</tool_response>", `{"name": "`}, "<function=",
		"qwen3.jinja", "{%- set only_thinks = true -%}\n",
	},
	{"Qwen3", []string{"<|im_start|>", "enable_thinking", "</think>", "</tool_response>", `{"name": "`}, "<function=", "qwen3.jinja", ""},
	{"DeepSeek-R1", []string{`<｜Assistant｜><think>\n`, "</think>", "<｜tool▁outputs▁begin｜>"}, "", "deepseek_r1.jinja", ""},
	// of these the first has a date of its own where nobody gives one
	{
		"Llama 3.1 and 3.3", []string{"<|start_header_id|>ipython<|end_header_id|>", "only supports single tool-calls", "tools_in_user_message"},
		"strftime_now", "llama3.jinja", "{%- set today = false -%}\n",
	},
	{
		"Llama 3.2", []string{
			"<|start_header_id|>ipython<|end_header_id|>", "only supports single tool-calls", "tools_in_user_message", "strftime_now",
		}, "", "llama3.jinja", "{%- set today = true -%}\n",
	},
	{
		"Gemma 2 and 3", []string{"<start_of_turn>", "<end_of_turn>", "Conversation roles must alternate"}, "<start_function", "gemma.jinja", "",
	},
	// those that write the system's words by themselves have default ones that differ from version to version
	{
		"Mistral 7B 0.3", []string{"[AVAILABLE_TOOLS] [", "[TOOL_CALLS] [", "user_messages[-1]"}, "[SYSTEM_PROMPT]", "mistral.jinja",
		"{%- set tekken = false -%}\n",
	},
	{
		"Mistral Nemo", []string{"[AVAILABLE_TOOLS][", "[TOOL_CALLS][", "user_messages[-1]"}, "[SYSTEM_PROMPT]", "mistral.jinja",
		"{%- set tekken = true -%}\n",
	},
}

// For is the training template of the family that a model's own template belongs to. The error names the families that
// have one.
func For(own string) (string, error) {
	for _, f := range families {
		lacks := func(marker string) bool { return !strings.Contains(own, marker) }
		if slices.ContainsFunc(f.markers, lacks) || f.without != "" && !lacks(f.without) {
			continue
		}
		text, err := files.ReadFile(f.file)
		if err != nil {
			panic("training: " + err.Error()) // it is embedded
		}
		return f.set + string(text), nil
	}
	names := make([]string, len(families))
	for i, f := range families {
		names[i] = f.name
	}
	return "", fmt.Errorf("the model's own chat template is of no family that has a training template; these have: %s",
		strings.Join(names, ", "))
}
