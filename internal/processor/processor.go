// Package processor is the text side of a model: its tokenizer and its chat template, and what of them begins and ends
// an answer. The name is transformers' for what stands between a user's input and a model.
package processor

import (
	"fmt"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/tokenizer"
	"qlora-wgpu/internal/usererr"
)

// Processor turns conversations into a model's tokens and back.
type Processor struct {
	Tokenizer *tokenizer.Tokenizer
	Template  *chat.Template
	// Named is false where neither the model nor the user has a template: conversations are written in ChatML then.
	Named bool

	source *pretrained.Model
	path   string
}

// NoTemplate says what is done where a processor's template is not Named.
const NoTemplate = "The model has no chat template: conversations are written in ChatML."

// New builds the tokenizer and the chat template that a model carries. path names the model in errors; template
// replaces the model's own where it is not empty. Errors are *usererr.Error.
func New(source *pretrained.Model, path, template string) (*Processor, error) {
	t := source.Tokenizer()
	p := &Processor{source: source, path: path}
	var err error
	if t.JSON != nil {
		p.Tokenizer, err = tokenizer.FromJSON(t.JSON, path)
	} else {
		p.Tokenizer, err = tokenizer.FromVocabulary(
			tokenizer.Vocabulary{Model: t.Model, Pre: t.Pre, Tokens: t.Tokens, Types: t.Types, Merges: t.Merges}, path)
	}
	if err != nil {
		return nil, err
	}
	if template == "" {
		template = t.ChatTemplate
	}
	if template == "" {
		p.Template = chat.Default()
		return p, nil
	}
	p.Named = true
	p.Template, err = chat.Parse(template, map[string]string{
		"bos_token": t.BosToken, "eos_token": t.EosToken, "unk_token": t.UnkToken, "pad_token": t.PadToken,
	})
	return p, err
}

// StopTokens end an answer: the configured end tokens and what the template writes after an assistant's turn.
func (p *Processor) StopTokens() (ids []int) {
	ids = append(ids, p.source.Tokens.EOS...)
	turns := []chat.Message{{Role: "user", Content: "a"}, {Role: "assistant", Content: "b"}}
	encoded, err := p.Template.Encode(p.Tokenizer, turns, chat.TrainOnAssistant)
	if err != nil {
		return ids
	}
	for i := len(encoded.IDs) - 1; i >= 0; i-- {
		if encoded.Target[i] {
			if id := encoded.IDs[i]; p.Tokenizer.IsSpecial(id) {
				ids = append(ids, int(id))
			}
			break
		}
	}
	return ids
}

// Encoder makes samples of at most maxSeqLength tokens of a data set's rows.
func (p *Processor) Encoder(on chat.TrainOn, maxSeqLength int) dataset.Encoder {
	e := dataset.Encoder{
		Template: p.Template, Tokenizer: p.Tokenizer, TrainOn: on, MaxSeqLength: maxSeqLength,
		BOS: dataset.NoToken, EOS: dataset.NoToken,
	}
	if c := p.source.Tokens; len(c.EOS) > 0 {
		e.EOS = int32(c.EOS[0])
	}
	if t := p.source.Tokenizer(); t.AddBos && p.source.Tokens.BOS >= 0 {
		e.BOS = int32(p.source.Tokens.BOS)
	}
	return e
}

// otherModel is the way out where ids have no row in the embedding.
const otherModel = "tokenizer and weights belong to different models"

// CheckSamples refuses a tokenizer that gives ids the embedding has no rows for. path names the data set.
func (p *Processor) CheckSamples(samples []dataset.Sample, path string) error {
	for _, sample := range samples {
		if err := p.checkIDs(sample.IDs); err != nil {
			return usererr.New("encode data set", path, "%w", err).Hinted(otherModel).In(usererr.Data)
		}
	}
	return nil
}

func (p *Processor) checkIDs(ids []uint32) error {
	for _, id := range ids {
		if vocab := p.source.Spec.Vocab; int(id) >= vocab {
			return fmt.Errorf("the tokenizer gives id %d, the model's vocabulary has %d", id, vocab)
		}
	}
	return nil
}

// Prompt are the tokens of a prompt: as a user's turn in the chat template, after a system turn where there is one, or
// raw as it stands. A prompt as long as the model's context is a *usererr.Error.
func (p *Processor) Prompt(prompt, system string, raw bool) ([]uint32, error) {
	text := prompt
	if !raw {
		var messages []chat.Message
		if system != "" {
			messages = append(messages, chat.Message{Role: "system", Content: system})
		}
		var err error
		if text, err = p.Template.Render(append(messages, chat.Message{Role: "user", Content: prompt}), true); err != nil {
			return nil, err
		}
	}
	var ids []uint32
	if bos := p.source.Tokens.BOS; raw && p.source.Tokenizer().AddBos && bos >= 0 {
		ids = append(ids, uint32(bos))
	}
	for _, id := range p.Tokenizer.Encode(text) {
		ids = append(ids, uint32(id))
	}
	if err := p.checkIDs(ids); err != nil {
		return nil, usererr.New("generate", p.path, "%w", err).Hinted(otherModel)
	}
	if limit := p.source.Spec.MaxPositions; len(ids) >= limit {
		return nil, usererr.New("generate", "", "the prompt has %d tokens, the model holds %d", len(ids), limit)
	}
	return ids, nil
}
