package chat

import (
	"slices"

	"qlora-wgpu/internal/chat/jinja"
)

// renderWhole renders a conversation as the template can take it, and gives what it took.
func (t *Template) renderWhole(chat Conversation) (Conversation, jinja.Output, error) {
	whole, err := t.render(chat, false)
	if err == nil {
		return chat, whole, nil
	}
	filled, anyFilled := chat.withContents()
	texts, anyTexts := chat.argumentsAsText()
	both, _ := filled.argumentsAsText()
	for _, other := range []struct {
		chat    Conversation
		differs bool
	}{{filled, anyFilled}, {texts, anyTexts}, {both, anyFilled && anyTexts}} {
		if !other.differs {
			continue
		}
		if whole, again := t.render(other.chat, false); again == nil {
			return other.chat, whole, nil
		}
	}
	return chat, whole, err
}

// withContents is the conversation with an empty content where there is none.
func (c Conversation) withContents() (_ Conversation, changed bool) {
	c.Messages = slices.Clone(c.Messages)
	for i, m := range c.Messages {
		changed = changed || m.NoContent
		c.Messages[i].NoContent = false
	}
	return c, changed
}
