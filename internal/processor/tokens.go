package processor

import "qlora-wgpu/internal/dataset"

// Token is a token of the model's vocabulary in a sequence. A character that several tokens share is the last one's
// text.
type Token struct {
	Text   string `json:"text"`
	Target bool   `json:"target"` // the model learns to predict it
	ID     int    `json:"id"`
	Role   string `json:"role"` // of the turn in whose content it stands; empty: of none
}

// Tokens are those of a sample that shows so many turns of a row, or of its beginning; which of them are targets is
// left to the caller. Errors are the chat template's.
func (p *Processor) Tokens(ids []uint32, row dataset.Row, turns int) ([]Token, error) {
	var roles []string // of a conversation's tokens, of which the sequence may be the beginning
	if row.Messages != nil {
		shown := row.Conversation()
		shown.Messages = shown.Messages[:turns]
		var err error
		if roles, err = p.Template.Roles(p.Tokenizer, shown); err != nil {
			return nil, err
		}
	}
	sequence := make([]Token, len(ids))
	stream := p.Tokenizer.Stream()
	for i, id := range ids {
		sequence[i] = Token{Text: stream.Push(int32(id)), ID: int(id)}
		if i < len(roles) {
			sequence[i].Role = roles[i]
		}
	}
	if n := len(sequence); n > 0 {
		sequence[n-1].Text += stream.Flush()
	}
	return sequence, nil
}
