package dataset

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"strings"

	"qlora-wgpu/internal/chat"
)

// rowParser reads the fields of one row and remembers which ones it has looked at.
type rowParser struct {
	row           fields
	used          map[string]bool
	unusedInTurns map[string]bool
}

// stringField is the text of a column; absent and null are "".
func (p *rowParser) stringField(name string) (string, error) {
	p.used[name] = true
	return stringOf(p.row[name], "column "+quote(name))
}

func stringOf(value jsontext.Value, what string) (string, error) {
	switch kind := value.Kind(); {
	case len(value) == 0 || kind == jsontext.KindNull:
		return "", nil
	case kind != jsontext.KindString:
		return "", fmt.Errorf("%s is %s, not a string", what, kindName(kind))
	}
	var text string
	err := json.Unmarshal(value, &text)
	return text, err
}

// withSystem puts the column "system", if it has a text, in front of the turns.
func (p *rowParser) withSystem(turns []chat.Message) ([]chat.Message, error) {
	system, err := p.stringField("system")
	if err != nil || system == "" {
		return turns, err
	}
	if len(turns) > 0 && turns[0].Role == "system" {
		return nil, fmt.Errorf("a system turn and a column \"system\"")
	}
	return append([]chat.Message{{Role: "system", Content: system}}, turns...), nil
}

// alpaca: the user's turn is the instruction with the input below it; "history" holds earlier [user, assistant] pairs.
func (p *rowParser) alpaca() (Row, error) {
	instruction, err := p.stringField("instruction")
	if err != nil {
		return Row{}, err
	}
	input, err := p.stringField("input")
	if err != nil {
		return Row{}, err
	}
	output, err := p.stringField("output")
	if err != nil {
		return Row{}, err
	}
	if input != "" {
		instruction += "\n" + input
	}
	turns, err := p.history()
	if err != nil {
		return Row{}, err
	}
	turns, err = p.withSystem(append(turns, chat.Message{Role: "user", Content: instruction},
		chat.Message{Role: "assistant", Content: output}))
	return Row{Messages: turns}, err
}

func (p *rowParser) history() ([]chat.Message, error) {
	value := p.row["history"]
	p.used["history"] = true
	if len(value) == 0 || value.Kind() == jsontext.KindNull {
		return nil, nil
	}
	var pairs [][]string
	if err := json.Unmarshal(value, &pairs); err != nil {
		return nil, fmt.Errorf(`column "history" is not a list of [user, assistant] pairs`)
	}
	var turns []chat.Message
	for _, pair := range pairs {
		if len(pair) != 2 {
			return nil, fmt.Errorf(`column "history" is not a list of [user, assistant] pairs: one has %d texts`, len(pair))
		}
		turns = append(turns, chat.Message{Role: "user", Content: pair[0]}, chat.Message{Role: "assistant", Content: pair[1]})
	}
	return turns, nil
}

// promptCompletion is a conversation of one question and one answer, as in MLX.
func (p *rowParser) promptCompletion() (Row, error) {
	prompt, err := p.stringField("prompt")
	if err != nil {
		return Row{}, err
	}
	completion, err := p.stringField("completion")
	if err != nil {
		return Row{}, err
	}
	turns, err := p.withSystem([]chat.Message{{Role: "user", Content: prompt}, {Role: "assistant", Content: completion}})
	return Row{Messages: turns}, err
}

func (p *rowParser) text() (Row, error) {
	text, err := p.stringField("text")
	return Row{Text: text}, err
}

// conversation reads a list of turns, each {"role", "content"} or {"from", "value"}.
func (p *rowParser) conversation(column string) (Row, error) {
	p.used[column] = true
	var list []jsontext.Value
	if value := p.row[column]; value.Kind() != jsontext.KindBeginArray {
		return Row{}, fmt.Errorf("column %q is %s, not a list of turns", column, kindName(value.Kind()))
	} else if err := json.Unmarshal(value, &list); err != nil {
		return Row{}, err
	}
	turns := make([]chat.Message, len(list))
	for i, value := range list {
		turn, err := p.turn(value)
		if err != nil {
			return Row{}, fmt.Errorf("turn %d: %w", i, err)
		}
		turns[i] = turn
	}
	turns, err := p.withSystem(turns)
	if err != nil {
		return Row{}, err
	}
	tools, err := p.tools()
	return Row{Messages: turns, Tools: tools}, err
}

// tools is the column "tools": a list, or a list written as a string (as LLaMA-Factory's files have it).
func (p *rowParser) tools() (jsontext.Value, error) {
	p.used["tools"] = true
	value := p.row["tools"]
	if len(value) == 0 || empty(value) {
		return nil, nil
	}
	if value.Kind() == jsontext.KindString {
		text, err := stringOf(value, "tools")
		if err != nil {
			return nil, err
		}
		value = jsontext.Value(strings.TrimSpace(text))
		if deeper(value, maxDepth) {
			return nil, fmt.Errorf(`column "tools" is nested deeper than %d levels`, maxDepth)
		}
		if !value.IsValid() {
			return nil, fmt.Errorf(`column "tools" is a string that is not valid JSON`)
		}
	}
	if value.Kind() != jsontext.KindBeginArray {
		return nil, fmt.Errorf(`column "tools" is %s, not a list`, kindName(value.Kind()))
	}
	if empty(value) {
		return nil, nil
	}
	return value, nil
}

// roles maps the speakers of both formats to the roles that chat templates know.
var roles = map[string]map[string]string{
	"role": {"system": "system", "developer": "developer", "user": "user", "assistant": "assistant", "tool": "tool", "function": "tool"},
	"from": {"system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
		"function_call": "assistant", "observation": "tool", "tool": "tool"},
}

func (p *rowParser) turn(value jsontext.Value) (chat.Message, error) {
	if value.Kind() != jsontext.KindBeginObject {
		return chat.Message{}, fmt.Errorf("%s, not an object", kindName(value.Kind()))
	}
	var turn fields
	if err := json.Unmarshal(value, &turn); err != nil {
		return chat.Message{}, err
	}
	speakerKey, textKey := "role", "content"
	if _, there := turn["from"]; there {
		speakerKey, textKey = "from", "value"
	}
	speaker, err := stringOf(turn[speakerKey], quote(speakerKey))
	if err != nil {
		return chat.Message{}, err
	}
	role, known := roles[speakerKey][speaker]
	if !known {
		return chat.Message{}, fmt.Errorf("unknown %s %s", speakerKey, quote(speaker))
	}
	message := chat.Message{Role: role}
	used := map[string]bool{speakerKey: true, textKey: true}
	text, err := contentOf(turn[textKey], textKey)
	if err != nil {
		return chat.Message{}, err
	}
	message.Content = text
	for name, to := range map[string]*string{
		"reasoning_content": &message.ReasoningContent, "name": &message.Name, "tool_call_id": &message.ToolCallID,
	} {
		used[name] = true
		if *to, err = stringOf(turn[name], quote(name)); err != nil {
			return chat.Message{}, err
		}
	}
	if calls := turn["tool_calls"]; len(calls) > 0 && !empty(calls) {
		if calls.Kind() != jsontext.KindBeginArray {
			return chat.Message{}, fmt.Errorf("\"tool_calls\" is %s, not a list", kindName(calls.Kind()))
		}
		message.ToolCalls, used["tool_calls"] = calls, true
	}
	if _, there := turn[textKey]; !there && message.ToolCalls == nil {
		return chat.Message{}, fmt.Errorf("no %q", textKey)
	}
	if role == "assistant" {
		if message.Train, err = trained(turn); err != nil {
			return chat.Message{}, err
		}
		used["weight"], used["train"] = true, true
	}
	for name, value := range turn {
		if !used[name] && !empty(value) {
			p.unusedInTurns[name] = true
		}
	}
	return message, nil
}

// trained reads what may take an assistant turn out of training: "weight" (0 or 1, as OpenAI has it) or "train"
// (Axolotl).
func trained(turn fields) (*bool, error) {
	var yes bool
	switch weight := string(turn["weight"]); weight {
	case "", "null":
	case "0", "1", "0.0", "1.0":
		yes = weight[0] == '1'
		return &yes, nil
	default:
		return nil, fmt.Errorf(`"weight" is %s; it can be 0 or 1`, quote(weight))
	}
	switch train := string(turn["train"]); train {
	case "", "null":
		return nil, nil
	case "true", "false":
		yes = train == "true"
		return &yes, nil
	}
	return nil, fmt.Errorf(`"train" is %s, not a boolean`, kindName(turn["train"].Kind()))
}

// contentOf is a text, or a list of parts of type "text" put together.
func contentOf(value jsontext.Value, name string) (string, error) {
	if value.Kind() != jsontext.KindBeginArray {
		return stringOf(value, quote(name))
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(value, &parts); err != nil {
		return "", fmt.Errorf("%q is neither a string nor a list of text parts", name)
	}
	var text strings.Builder
	for _, part := range parts {
		if part.Type != "text" {
			return "", fmt.Errorf("%q has a part of type %s; only text is trained on", name, quote(part.Type))
		}
		text.WriteString(part.Text)
	}
	return text.String(), nil
}
