// Package processor is the text side of a model: its tokenizer and its chat template, and what of them begins and ends
// an answer. The name is transformers' for what stands between a user's input and a model.
package processor

import (
	"cmp"
	"crypto/sha256"
	"encoding/json/jsontext"
	"fmt"
	"maps"
	"strings"
	"time"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/chat/training"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/tokenizer"
	"qlora-wgpu/internal/usererr"
)

// Processor turns conversations into a model's tokens and back.
type Processor struct {
	Tokenizer *tokenizer.Tokenizer
	Template  *chat.Template
	// Warnings say what the model lacks for conversations.
	Warnings []string

	source *pretrained.Model
	path   string
	eos    int32 // ends an answer and a text; dataset.NoToken: none is known
}

// noTemplate says what is done where neither the model nor the user has a template.
const noTemplate = "The model has no chat template: conversations are written in ChatML, and a turn ends with %s."

// unusedArg says what of template_args has no effect.
const unusedArg = "The chat template has no variable %.60q: what template_args gives it changes nothing."

// noEnd says what cannot be learned where no file names a token for it.
const noEnd = "No file of the model names an EOS token: the end of an answer is not learned, and answers are cut off by their length alone."

// ChatML's token for the end of a turn.
const endOfTurn = "<|im_end|>"

// Options are what a run gives its model's text side.
type Options struct {
	ChatTemplate string         // Jinja source replacing the model's templates; empty: the model's
	TemplateArgs jsontext.Value // variables of templates, an object; nil: none
	Now          time.Time      // the date that templates see
}

// New builds the tokenizer and the chat template that a model carries. path names the model in errors. The EOS token is
// the one that the tokenizer's files name, else the generation's or the model's configuration, else what a
// post-processor writes behind a text. Errors are *usererr.Error; a template that cannot be parsed gives one when it is
// used.
func New(source *pretrained.Model, path string, given Options) (*Processor, error) {
	t := source.Tokenizer()
	p := &Processor{source: source, path: path}
	err := source.CheckTokenizer()
	if err != nil {
		return nil, err
	}
	if err := chat.CheckTemplateArgs(given.TemplateArgs); err != nil {
		return nil, usererr.New("settings", "", "template_args: %w", err)
	}
	if p.Tokenizer, err = newTokenizer(t, path); err != nil {
		return nil, err
	}
	if tokens, rows := p.Tokenizer.VocabSize(), source.Spec.Vocab; tokens > rows {
		return nil, usererr.New("read tokenizer", path, "the vocabulary has %d tokens, the embedding %d rows", tokens, rows).
			Of(usererr.Format).Hinted(dataset.OtherModel)
	}
	p.eos = p.findEOS(t.Named["eos_token"])
	end, _ := p.Tokenizer.Token(p.eos)
	tokens := maps.Clone(t.Named)
	if pad := p.Tokenizer.PadToken(); pad != "" && tokens["pad_token"] == "" {
		tokens["pad_token"] = pad
	}
	o := chat.Options{Templates: t.Templates, Tokens: tokens, End: end, Now: given.Now, TemplateArgs: given.TemplateArgs}
	if given.ChatTemplate != "" {
		o.Templates = map[string]string{pretrained.DefaultTemplate: given.ChatTemplate}
	} else {
		_, err := training.For(t.Templates[pretrained.DefaultTemplate])
		o.ForTraining = err == nil
	}
	if len(o.Templates) == 0 {
		turn := endOfTurn
		if _, known := p.Tokenizer.ID(endOfTurn); !known && end != "" {
			turn = end
		}
		o.Templates = map[string]string{pretrained.DefaultTemplate: chat.ChatML}
		o.Tokens = map[string]string{"begin_of_text": p.Tokenizer.Decode(p.Tokenizer.Before()), "end_of_turn": turn}
		p.Warnings = append(p.Warnings, fmt.Sprintf(noTemplate, turn))
	}
	if p.eos == dataset.NoToken {
		p.Warnings = append(p.Warnings, noEnd)
	}
	p.Template = chat.New(o)
	for _, name := range p.Template.UnusedArgs() {
		p.Warnings = append(p.Warnings, fmt.Sprintf(unusedArg, name))
	}
	return p, nil
}

func newTokenizer(t pretrained.TokenizerSource, path string) (*tokenizer.Tokenizer, error) {
	beside := make([]tokenizer.AddedToken, len(t.Added))
	for i, a := range t.Added {
		beside[i] = tokenizer.AddedToken{
			Content: a.Content, SingleWord: a.SingleWord, LStrip: a.LStrip, RStrip: a.RStrip, Normalized: a.Normalized,
			Special: a.Special, IfMissing: a.IfMissing,
		}
	}
	if t.JSON != nil {
		return tokenizer.FromJSON(t.JSON, path+"/tokenizer.json", beside)
	}
	bos, eos := t.Named["bos_token"], t.Named["eos_token"]
	if t.Tekken != nil || t.SentencePiece != nil {
		bos, eos = cmp.Or(bos, "<s>"), cmp.Or(eos, "</s>")
	}
	if !t.AddBos {
		bos = ""
	}
	if !t.AddEos {
		eos = ""
	}
	if t.Tekken != nil {
		return tokenizer.FromTekken(t.Tekken, path+"/tekken.json", bos, eos, beside)
	}
	v := Vocabulary(t)
	if t.SentencePiece != nil {
		path += "/tokenizer.model"
		var err error
		if v, err = tokenizer.SentencePiece(t.SentencePiece, path); err != nil {
			return nil, err
		}
	}
	v.Before, v.After, v.Beside = bos, eos, beside
	return tokenizer.FromVocabulary(v, path)
}

// Vocabulary is the one in a GGUF file's metadata.
func Vocabulary(t pretrained.TokenizerSource) tokenizer.Vocabulary {
	v := tokenizer.Vocabulary{
		Model: t.Model, Pre: t.Pre, Tokens: t.Tokens, Types: t.Types, Merges: t.Merges, Scores: t.Scores,
		AddSpacePrefix: t.AddSpacePrefix, CollapseSpaces: t.CollapseSpaces,
	}
	if t.AddBos {
		v.Before = t.Named["bos_token"]
	}
	if t.AddEos {
		v.After = t.Named["eos_token"]
	}
	return v
}

func (p *Processor) findEOS(named string) int32 {
	if id, known := p.Tokenizer.ID(named); known {
		return id
	}
	if ids := p.source.Tokens.EOS; len(ids) > 0 {
		return int32(ids[0])
	}
	if after := p.Tokenizer.After(); len(after) > 0 {
		return after[len(after)-1]
	}
	return dataset.NoToken
}

// StopTokens end an answer: the configured end tokens and what the template writes after an assistant's turn.
func (p *Processor) StopTokens() (ids []int) {
	ids = append(ids, p.source.Tokens.Stop...)
	if p.eos != dataset.NoToken {
		ids = append(ids, int(p.eos))
	}
	turns := chat.Conversation{Messages: []chat.Message{{Role: "user", Content: "a"}, {Role: "assistant", Content: "b"}}}
	encoded, err := p.Template.Encode(p.Tokenizer, turns, chat.TrainOnAssistant)
	if err != nil || len(encoded.Samples) == 0 {
		return ids
	}
	answer := encoded.Samples[0]
	for i := len(answer.IDs) - 1; i >= 0; i-- {
		if answer.Target[i] {
			if id := answer.IDs[i]; p.Tokenizer.IsSpecial(id) {
				ids = append(ids, int(id))
			}
			break
		}
	}
	return ids
}

// Encoder makes samples of at most maxSeqLength tokens of a data set's rows. It refuses a tokenizer that gives ids the
// embedding has no rows for.
func (p *Processor) Encoder(on chat.TrainOn, maxSeqLength int) dataset.Encoder {
	return dataset.Encoder{
		Template: p.Template, Tokenizer: p.Tokenizer, TrainOn: on, MaxSeqLength: maxSeqLength, EOS: p.eos,
		Vocabulary: p.source.Spec.Vocab, Identity: p.identity,
	}
}

// identity tells apart what makes other tokens of the same conversation.
func (p *Processor) identity() ([]byte, error) {
	template, err := p.Template.Identity()
	if err != nil {
		return nil, err
	}
	sum, t := sha256.New(), p.source.Tokenizer()
	for _, file := range [][]byte{t.JSON, t.Tekken, t.SentencePiece} {
		fmt.Fprintf(sum, "%d\n%s", len(file), file)
	}
	t.JSON, t.Tekken, t.SentencePiece, t.Templates = nil, nil, nil, nil
	fmt.Fprintf(sum, "%#v", t) // JSON could not write names that are no UTF-8
	return append(sum.Sum(nil), template...), nil
}

func (p *Processor) checkIDs(ids []uint32) error {
	for _, id := range ids {
		if vocab := p.source.Spec.Vocab; int(id) >= vocab {
			return fmt.Errorf("the tokenizer gives id %d, the model's vocabulary has %d", id, vocab)
		}
	}
	return nil
}

// Prompt is what an answer continues.
type Prompt struct {
	IDs []uint32
	// Open is white space at the end of the text that is not among the IDs, since it is one token with the beginning of
	// most answers: an answer begins with it.
	Open string
}

// Prompt are the tokens of a prompt: as a user's turn in the chat template, after a system turn where there is one, or
// raw as it stands. A prompt as long as the model's context is a *usererr.Error.
func (p *Processor) Prompt(prompt, system string, raw bool) (Prompt, error) {
	if raw {
		return p.fits(p.Tokenizer.Begin(p.Tokenizer.Encode(prompt)), "", "the prompt", "shorten it")
	}
	var turns []chat.Message
	if system != "" {
		turns = append(turns, chat.Message{Role: "system", Content: system})
	}
	ids, open, err := p.turns(append(turns, chat.Message{Role: "user", Content: prompt}))
	if err != nil {
		return Prompt{}, err
	}
	return p.fits(ids, open, "the prompt", "shorten it")
}

// Conversation are the tokens of a conversation in the chat template, up to where the assistant's next turn begins. One
// without a message, and one as long as the model's context, is a *usererr.Error.
func (p *Processor) Conversation(messages []chat.Message) (Prompt, error) {
	if len(messages) == 0 {
		return Prompt{}, usererr.New("generate", "", "the conversation has no message").Hinted("begin with a user's turn")
	}
	ids, open, err := p.turns(messages)
	if err != nil {
		return Prompt{}, err
	}
	return p.fits(ids, open, "the conversation", "begin a new conversation, or leave out its first turns")
}

// turns are the tokens of a conversation with the template's generation prompt.
func (p *Processor) turns(messages []chat.Message) (ids []int32, open string, err error) {
	text, err := p.Template.Render(chat.Conversation{Messages: messages}, true)
	if err != nil {
		return nil, "", err
	}
	ids, open = p.open(text)
	return ids, open, nil
}

// fits makes a Prompt of ids that the model has and holds; what is what they are, hint what helps if they are too many.
func (p *Processor) fits(ids []int32, open, what, hint string) (Prompt, error) {
	out := Prompt{Open: open}
	for _, id := range ids {
		out.IDs = append(out.IDs, uint32(id))
	}
	if err := p.checkIDs(out.IDs); err != nil {
		return out, usererr.New("generate", p.path, "%w", err).Hinted(dataset.OtherModel)
	}
	if limit := p.source.Spec.MaxPositions; len(ids) >= limit {
		return out, usererr.New("generate", "", "%s has %d tokens, the model holds %d", what, len(ids), limit).Hinted("%s", hint)
	}
	return out, nil
}

// open encodes a prompt without the white space at its end that would be one token with an answer's first letter: it
// was so when the model was trained, where prompt and answer are one text.
func (p *Processor) open(text string) (ids []int32, space string) {
	ids = p.Tokenizer.Encode(text)
	followed := p.Tokenizer.Encode(text + "a")
	n := 0
	for n < len(ids) && n < len(followed) && ids[n] == followed[n] {
		n++
	}
	if space = p.Tokenizer.DecodeContinuation(ids[n:]); strings.TrimSpace(space) != "" || n == 0 {
		return ids, ""
	}
	return ids[:n], space
}
