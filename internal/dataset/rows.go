package dataset

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"maps"
	"slices"
	"strings"

	"qlora-wgpu/internal/chat"
)

// rowParser reads the fields of one row and remembers which ones it has looked at.
type rowParser struct {
	row     fields
	used    map[string]bool
	leftOut []string // kinds of content that no text model reads
	// arguments of tool calls were JSON texts and are objects now
	parsedArguments bool
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

// withSystem puts a column, if it has a text, as the system's turn in front of the others.
func (p *rowParser) withSystem(column string, turns []chat.Message) ([]chat.Message, error) {
	system, err := p.stringField(column)
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
	if instruction != "" && input != "" {
		instruction += "\n"
	}
	instruction += input
	turns, err := p.history()
	if err != nil {
		return Row{}, err
	}
	turns, err = p.withSystem("system", append(turns, chat.Message{Role: "user", Content: instruction},
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

// promptCompletion is a conversation of one question and one answer, as in MLX, or of the turns that stand for either,
// as in TRL.
func (p *rowParser) promptCompletion() (Row, error) {
	return p.pair(pairColumns{question: "prompt", answer: "completion", system: "system"})
}

func (p *rowParser) textOf(column string) (Row, error) {
	text, err := p.stringField(column)
	return Row{Text: text}, err
}

// conversation reads a list of turns, each {"role", "content"} or {"from", "value"}.
func (p *rowParser) conversation(column string) (Row, error) {
	turns, err := p.turns(column)
	if err != nil {
		return Row{}, err
	}
	if turns == nil {
		return Row{Messages: []chat.Message{}}, nil
	}
	if turns, err = p.withSystem("system", turns); err != nil {
		return Row{}, err
	}
	tools, err := p.tools()
	return Row{Messages: turns, Tools: tools, LeftOut: p.leftOut}, err
}

// turns are those of a column that is a list of them, nil where it is null.
func (p *rowParser) turns(column string) ([]chat.Message, error) {
	p.used[column] = true
	var list []jsontext.Value
	if value := p.row[column]; len(value) == 0 || value.Kind() == jsontext.KindNull {
		return nil, nil
	} else if value.Kind() != jsontext.KindBeginArray {
		return nil, fmt.Errorf("column %q is %s, not a list of turns", column, kindName(value.Kind()))
	} else if err := json.Unmarshal(value, &list); err != nil {
		return nil, err
	}
	turns := make([]chat.Message, len(list))
	for i, value := range list {
		turn, err := p.turn(value)
		if err != nil {
			return nil, fmt.Errorf("turn %d: %w", i, err)
		}
		turns[i] = turn
	}
	return turns, nil
}

// tools is the column "tools": a list, or a list written as a string (as LLaMA-Factory's files have it).
func (p *rowParser) tools() (jsontext.Value, error) {
	value, err := p.jsonColumn("tools")
	if err != nil || value == nil || empty(value) {
		return nil, err
	}
	if value.Kind() != jsontext.KindBeginArray {
		return nil, fmt.Errorf(`column "tools" is %s, not a list`, kindName(value.Kind()))
	}
	return value, nil
}

// templateArgsColumn has the name of transformers' argument.
const templateArgsColumn = "chat_template_kwargs"

// templateArgs is the column of variables for the chat template: an object, or one that is written as a string. Those
// that are null are not given: a table has the columns of all its rows.
func (p *rowParser) templateArgs() (jsontext.Value, error) {
	value, err := p.jsonColumn(templateArgsColumn)
	if err != nil || value == nil || empty(value) {
		return nil, err
	}
	var given fields
	if value.Kind() != jsontext.KindBeginObject {
		return nil, fmt.Errorf("column %q is %s, not an object", templateArgsColumn, kindName(value.Kind()))
	} else if err := json.Unmarshal(value, &given); err != nil {
		return nil, fmt.Errorf("column %q: %w", templateArgsColumn, err)
	}
	maps.DeleteFunc(given, func(_ string, value jsontext.Value) bool { return value.Kind() == jsontext.KindNull })
	if value, err = json.Marshal(given, json.Deterministic(true)); err != nil {
		return nil, err
	}
	if err := chat.CheckTemplateArgs(value); err != nil {
		return nil, fmt.Errorf("column %q: %w", templateArgsColumn, err)
	}
	return value, nil
}

// jsonColumn is a column's value, read where it is JSON that is written as a string; nil where there is none.
func (p *rowParser) jsonColumn(name string) (jsontext.Value, error) {
	p.used[name] = true
	value := p.row[name]
	if len(value) == 0 || empty(value) {
		return nil, nil
	}
	if value.Kind() != jsontext.KindString {
		return value, nil
	}
	text, err := stringOf(value, name)
	if err != nil {
		return nil, err
	}
	value = jsontext.Value(strings.TrimSpace(text))
	if deeper(value, maxDepth) {
		return nil, fmt.Errorf(`column %q is nested deeper than %d levels`, name, maxDepth)
	}
	if !value.IsValid() {
		return nil, fmt.Errorf(`column %q is a string that is not valid JSON`, name)
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
	for name, value := range turn { // a table of both formats has the columns of either in each row
		if value.Kind() == jsontext.KindNull {
			delete(turn, name)
		}
	}
	speakerKey, textKey := "role", "content"
	if _, there := turn["from"]; there {
		speakerKey, textKey = "from", "value"
	}
	speaker, err := stringOf(turn[speakerKey], quote(speakerKey))
	if err != nil {
		return chat.Message{}, err
	}
	if _, there := turn[speakerKey]; !there {
		return chat.Message{}, fmt.Errorf("no turn, which has a %q: an object of %s", speakerKey, columns(turn))
	}
	role, known := roles[speakerKey][speaker]
	if !known {
		return chat.Message{}, fmt.Errorf("unknown %s %s", speakerKey, quote(speaker))
	}
	_, hasContent := turn[textKey]
	message := chat.Message{Role: role, NoContent: !hasContent}
	if message.Content, err = p.contentOf(turn[textKey], textKey); err != nil {
		return chat.Message{}, err
	}
	if role == "assistant" {
		if message.Train, err = trained(turn); err != nil {
			return chat.Message{}, err
		}
	}
	if message.Fields, err = p.otherFields(value, role, speakerKey, textKey); err != nil {
		return chat.Message{}, err
	}
	// An answer may be missing; a question may be empty, but not under another name.
	if !hasContent && role != "assistant" && slices.ContainsFunc(message.Fields, isNoMetadata) {
		return chat.Message{}, fmt.Errorf("no %q", textKey)
	}
	return message, nil
}

// isNoMetadata tells fields that might be a content of another name.
func isNoMetadata(f chat.Field) bool { return f.Name != "name" && f.Name != "tool_call_id" }

// otherFields are what else a turn holds, in its order.
func (p *rowParser) otherFields(turn jsontext.Value, role, speakerKey, textKey string) (list []chat.Field, err error) {
	known := []string{speakerKey, textKey}
	if role == "assistant" {
		known = append(known, trainKeys...)
	}
	d := jsontext.NewDecoder(bytes.NewReader(turn))
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	for d.PeekKind() == jsontext.KindString {
		key, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		name := key.String()
		value, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		if value.Kind() == jsontext.KindNull || slices.Contains(known, name) || slices.Contains(trainKeys, name) && switchedOff(value) {
			continue
		}
		f := chat.Field{Name: name, Value: value.Clone()}
		switch name {
		case "reasoning_content", "name", "tool_call_id":
			if _, err := stringOf(value, quote(name)); err != nil {
				return nil, err
			}
		case "tool_calls":
			if value.Kind() != jsontext.KindBeginArray {
				return nil, fmt.Errorf("%q is %s, not a list", name, kindName(value.Kind()))
			}
			var parsed bool
			if f.Value, parsed = chat.ArgumentsAsObjects(f.Value); parsed {
				p.parsedArguments = true
			}
		}
		list = append(list, f)
	}
	return list, nil
}

// trainKeys may take an assistant turn out of training: "weight" (0 or 1, OpenAI), "train" (Axolotl) or "loss"
// (ms-swift).
var trainKeys = []string{"weight", "train", "loss"}

// switchedOff tells whether one says no, which of a turn that is not the assistant's is what is done anyway.
func switchedOff(value jsontext.Value) bool {
	return slices.Contains([]string{"false", "0", "0.0"}, string(value))
}

// trained reads them: nil where none says anything. They may be booleans or 0 and 1, and have to agree.
func trained(turn fields) (*bool, error) {
	var out *bool
	from := ""
	for _, key := range trainKeys {
		var yes bool
		switch value := string(turn[key]); value {
		case "":
			continue
		case "0", "1", "0.0", "1.0":
			yes = value[0] == '1'
		case "true", "false":
			yes = value == "true"
		default:
			return nil, fmt.Errorf("%q is %s; it can be 0, 1, false or true", key, shortened(value))
		}
		if out != nil && *out != yes {
			return nil, fmt.Errorf("%q and %q of a turn do not agree", from, key)
		}
		out, from = &yes, key
	}
	return out, nil
}

// contentOf is a text, or a list of parts of type "text" put together. Parts that no text model reads, images among
// them, are left out and remembered.
func (p *rowParser) contentOf(value jsontext.Value, name string) (string, error) {
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
		if part.Type == "text" {
			text.WriteString(part.Text)
		} else if what := "parts of type " + quote(part.Type); !slices.Contains(p.leftOut, what) {
			p.leftOut = append(p.leftOut, what)
		}
	}
	return text.String(), nil
}
