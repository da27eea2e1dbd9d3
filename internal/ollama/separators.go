//go:build !js

package ollama

import (
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"qlora-wgpu/internal/chat"
)

// Roles of messages.
const (
	system    = "system"
	user      = "user"
	assistant = "assistant"
	none      = "" // the beginning of a conversation, and its end where an answer is asked for
)

// model is what a Modelfile has to do as well as: a chat template, and the token that is put in front of every text.
type model struct {
	template *chat.Template
	bos      string // of which a rendered text may have one less; empty: none
	now      time.Time
}

// text is what the model's template makes of a conversation, without the token that Ollama puts in front. One that ends
// with an answer is to be continued there (continue_final_message in transformers).
func (m model) text(c conversation) (string, error) {
	last := c.messages[len(c.messages)-1]
	text, err := m.template.At(m.now).Render(asked(c), last.Role != assistant)
	if err != nil {
		return "", err
	}
	if last.Role == assistant {
		at := strings.LastIndex(text, last.Content)
		if at < 0 {
			return "", errors.New("its template does not show the last answer as it is")
		}
		text = text[:at+len(last.Content)]
	}
	return strings.TrimPrefix(text, m.bos), nil
}

// asked is a conversation as chat templates take it. The variable is the one by which they are told not to think.
func asked(c conversation) (out chat.Conversation) {
	for _, m := range c.messages {
		turn := chat.Message{Role: m.Role, Content: m.Content}
		if m.Thinking != "" {
			turn.Fields = []chat.Field{{Name: "reasoning_content", Value: jsontext.Value(strconv.Quote(m.Thinking))}}
		}
		out.Messages = append(out.Messages, turn)
	}
	if c.noThink {
		out.TemplateArgs = jsontext.Value(`{"enable_thinking":false}`)
	}
	return out
}

// writesBOS: the model's template begins a text with the token itself.
func (m model) writesBOS() bool {
	c := conversation{messages: []message{{Role: user, Content: mark(0)}}}
	text, err := m.template.At(m.now).Render(asked(c), true)
	return err == nil && strings.HasPrefix(text, m.bos)
}

// separators are what a template writes between two contents, by the roles of both.
type separators map[pair]string

type pair [2]string

// mark is a content that is found again.
func mark(i int) string { return fmt.Sprintf("Content%dOfATurn", i) }

// between gives what the template writes before each content of a conversation of marks, and behind the last. order
// are the turns as they come. A content that does not show, or twice, is an error.
func (m model) between(noThink bool, roles ...string) (order []int, texts []string, err error) {
	c := conversation{noThink: noThink}
	for i, role := range roles {
		c.messages = append(c.messages, message{Role: role, Content: mark(i)})
	}
	text, err := m.text(c)
	if err != nil {
		return nil, nil, err
	}
	at := make([]int, len(roles))
	for i := range roles {
		if strings.Count(text, mark(i)) != 1 {
			return nil, nil, errors.New("its template does not show every message once")
		}
		at[i] = strings.Index(text, mark(i))
		order = append(order, i)
	}
	slices.SortFunc(order, func(a, b int) int { return at[a] - at[b] })
	done := 0
	for _, i := range order {
		texts = append(texts, text[done:at[i]])
		done = at[i] + len(mark(i))
	}
	return order, append(texts, text[done:]), nil
}

// read asks the template for what stands between all pairs of roles. The conversations come with those first that every
// template must take; what later ones say of a pair that is known already is left to the proof.
func (m model) read() (separators, error) {
	s := separators{}
	for i, roles := range [][]string{
		{user, assistant, user}, {system, user}, {user},
		// what Ollama asks where the beginning of a conversation no longer fits, or a system message comes later
		{assistant, user}, {system, assistant, user}, {user, system, user}, {user, assistant, system, user},
	} {
		order, texts, err := m.between(false, roles...)
		if err != nil && i == 0 {
			return nil, err
		}
		if err != nil || !slices.IsSorted(order) {
			continue
		}
		for k, text := range texts {
			at := pair{none, none}
			if k > 0 {
				at[0] = roles[k-1]
			}
			if k < len(roles) {
				at[1] = roles[k]
			}
			if _, known := s[at]; !known {
				s[at] = text
			}
		}
	}
	return s, nil
}
