//go:build !js

package processor

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
)

// keys are those of a JSON file.
type keys = map[string]any

// folder is the demo's model with other files beside its weights; nil removes one, and an object changes keys of what
// is there.
func folder(t *testing.T, files keys) string {
	dir := demotest.Model(t, 1, nil)
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		switch content := content.(type) {
		case nil:
			require.NoError(t, os.Remove(path))
		case string:
			require.NoError(t, os.WriteFile(path, []byte(content), 0o666))
		case keys:
			all := keys{}
			if text, err := os.ReadFile(path); err == nil {
				require.NoError(t, json.Unmarshal(text, &all))
			}
			for key, value := range content {
				all[key] = value
			}
			text, err := json.Marshal(all)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, text, 0o666))
		}
	}
	return dir
}

func opened(t *testing.T, dir, template string) *Processor {
	model, err := pretrained.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { model.Close() })
	p, err := New(model, dir, Options{ChatTemplate: template, Now: time.Now()})
	require.NoError(t, err)
	return p
}

var question = chat.Conversation{Messages: []chat.Message{{Role: "user", Content: "One cup?"}, {Role: "assistant", Content: "Two cups."}}}

// learned is what training learns of a conversation, and the whole of it.
func learned(t *testing.T, p *Processor, c chat.Conversation) (targets, text string) {
	encoded, err := p.Template.Encode(p.Tokenizer, c, chat.TrainOnAssistant)
	require.NoError(t, err)
	var list []int32
	for i, id := range encoded.Samples[0].IDs {
		if encoded.Samples[0].Target[i] {
			list = append(list, id)
		}
	}
	return p.Tokenizer.Decode(list), p.Tokenizer.Decode(encoded.Samples[0].IDs)
}

// textIDs is what training sees of a text.
func textIDs(t *testing.T, p *Processor, text string) []uint32 {
	row := dataset.Row{Text: text, Where: "line 1"}
	samples, _, err := p.Encoder(chat.TrainOnAssistant, 64).Encode(dataset.SourceOf("", []dataset.Row{row}))
	require.NoError(t, err)
	sample, err := samples.At(0)
	require.NoError(t, err)
	return sample.IDs
}

// Wherever the EOS token is named, it is learned at the end of an answer and of a text, and ends an answer.
func TestEndOfAnAnswer(t *testing.T) {
	const end, user = 1, 3
	none := keys{"eos_token": nil, "chat_template": nil}
	noID := keys{"eos_token_id": nil}
	after := keys{
		"type": "TemplateProcessing", "single": []any{
			keys{"Sequence": keys{"id": "A"}}, keys{"SpecialToken": keys{"id": "e"}},
		}, "special_tokens": keys{"e": keys{"ids": []any{end}}},
	}
	for name, files := range map[string]keys{
		"config.json":            {"tokenizer_config.json": none, "generation_config.json": nil},
		"generation_config.json": {"tokenizer_config.json": none, "config.json": noID},
		"several in config.json": {
			"tokenizer_config.json":  none,
			"generation_config.json": nil,
			"config.json":            keys{"eos_token_id": []any{1, 3}},
		},
		"generation before config": {"tokenizer_config.json": none, "config.json": keys{"eos_token_id": user}},
		"no tokenizer_config.json": {"tokenizer_config.json": nil},
		"tokenizer_config.json": {
			"tokenizer_config.json":  keys{"chat_template": nil},
			"config.json":            noID,
			"generation_config.json": noID,
		},
		"tokenizer before generation": {
			"tokenizer_config.json":  keys{"chat_template": nil},
			"generation_config.json": keys{"eos_token_id": user},
		},
		"an object": {
			"tokenizer_config.json": keys{"chat_template": nil, "eos_token": keys{"content": "<|end|>"}},
			"config.json":           noID,
		},
		"special_tokens_map.json": {
			"tokenizer_config.json":   nil,
			"special_tokens_map.json": `{"eos_token":"<|end|>"}`,
			"config.json":             noID,
			"generation_config.json":  nil,
		},
		"a post-processor": {
			"tokenizer_config.json":  nil,
			"config.json":            noID,
			"generation_config.json": nil,
			"tokenizer.json":         keys{"post_processor": after},
		},
		"special_tokens_map overrides": {
			"tokenizer_config.json":   keys{"chat_template": nil, "eos_token": "<|user|>"},
			"special_tokens_map.json": `{"eos_token":"<|end|>"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := opened(t, folder(t, files), "")
			targets, text := learned(t, p, question)
			require.Equal(t, "Two cups.<|end|>", targets)
			require.Equal(t, "<|im_start|>user\nOne cup?<|end|>\n<|im_start|>assistant\nTwo cups.<|end|>\n", text)
			require.Contains(t, p.StopTokens(), end)
			ids := textIDs(t, p, "One cup")
			require.EqualValues(t, end, ids[len(ids)-1])
			require.Len(t, p.Warnings, 1)
			require.Contains(t, p.Warnings[0], "no chat template")
			require.Contains(t, p.Warnings[0], "a turn ends with <|end|>")

			// A template that names the token only where transformers knows it, and one that writes none.
			p = opened(t, filepath.Clean(p.path), `{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}`+
				`{% if add_generation_prompt %}assistant: {% endif %}`)
			targets, _ = learned(t, p, question)
			require.Equal(t, " Two cups.\n<|end|>", targets, "with the space that is one token with the answer's first word")
		})
	}
	p := opened(t, folder(t, keys{"tokenizer_config.json": nil, "config.json": noID, "generation_config.json": nil}), "")
	targets, _ := learned(t, p, question)
	require.Equal(t, "Two cups.<|im_end|>\n", targets)
	require.Contains(t, strings.Join(p.Warnings, "\n"), "No file of the model names an EOS token")
	require.Empty(t, p.StopTokens())
}

// What the post-processor writes around a text is there once, in chats without a template too; add_bos_token does not
// count beside a tokenizer.json.
func TestWhatSurroundsATextOfAFolder(t *testing.T) {
	before := keys{"type": "RobertaProcessing", "cls": []any{"<|system|>", 2}, "sep": []any{"<|end|>", 1}}
	files := keys{"tokenizer.json": keys{"post_processor": before}, "tokenizer_config.json": keys{"add_bos_token": true}}
	p := opened(t, folder(t, files), "")
	without := folder(t, keys{"tokenizer_config.json": keys{"add_bos_token": true, "bos_token": "<|system|>"}})
	plain := textIDs(t, opened(t, without, ""), "One cup")
	require.NotEqual(t, uint32(2), plain[0])
	require.Equal(t, append([]uint32{2}, plain...), textIDs(t, p, "One cup"))
	require.Equal(t, append([]uint32{2}, plain...), textIDs(t, p, "<|system|>One cup<|end|>"))

	// What it writes behind a text comes before an EOS token of another name, and once.
	other := opened(t, folder(t, keys{
		"tokenizer.json": keys{"post_processor": before}, "tokenizer_config.json": keys{"eos_token": "<|user|>"},
	}), "")
	require.Equal(t, []uint32{1, 3}, textIDs(t, other, "One cup")[len(plain):])
	require.Equal(t, textIDs(t, other, "One cup"), textIDs(t, other, "One cup<|end|>"))

	raw, err := p.Prompt("One cup", "", true)
	require.NoError(t, err)
	require.Equal(t, append([]uint32{2}, plain[:len(plain)-1]...), raw.IDs, "an open text")

	files["tokenizer_config.json"] = nil
	_, text := learned(t, opened(t, folder(t, files), ""), question)
	require.True(t, strings.HasPrefix(text, "<|system|><|im_start|>user\n"), text)
}

// Tokens that tokenizer.json does not add are matched where another file names them.
func TestTokensBesideTheTokenizer(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(demotest.Model(t, 1, nil), "tokenizer.json"))
	require.NoError(t, err)
	var tokenizer keys
	require.NoError(t, json.Unmarshal(text, &tokenizer))
	added := tokenizer["added_tokens"].([]any)
	for name, config := range map[string]keys{
		"added_tokens_decoder": {"added_tokens_decoder": keys{"3": keys{"content": "<|user|>", "special": true}}},
		"a list":               {"additional_special_tokens": []any{"<|user|>"}},
		"by purpose":           {"extra_special_tokens": keys{"user_token": "<|user|>"}},
		"a model's own":        {"user_token": "<|user|>"},
	} {
		p := opened(t, folder(t, keys{
			"tokenizer.json": keys{"added_tokens": append(added[:3:3], added[4:]...)}, "tokenizer_config.json": config,
		}), "")
		ids := p.Tokenizer.Encode("<|user|>a<|end|>")
		require.Equal(t, int32(3), ids[0], name)
		require.True(t, p.Tokenizer.IsSpecial(3), name)
		require.Len(t, ids, 3)
	}
	// Flags of a token that is there already change where added_tokens_decoder says so, and only there.
	strips := keys{"content": "<|user|>", "special": true, "lstrip": true, "rstrip": true}
	for _, c := range []struct {
		config keys
		text   string
	}{
		{keys{"added_tokens_decoder": keys{"3": strips}}, "a<|user|>b"},
		{keys{"user_token": strips}, "a <|user|> b"},
	} {
		p := opened(t, folder(t, keys{"tokenizer_config.json": c.config}), "")
		require.Equal(t, c.text, p.Tokenizer.Decode(p.Tokenizer.Encode("a <|user|> b")))
	}

	p := opened(t, folder(t, keys{"tokenizer_config.json": keys{"additional_special_tokens": []any{"<<x>>", "<<y>>"}}}), "")
	require.Equal(t, []int32{1025, 1024}, p.Tokenizer.Encode("<<y>><<x>>"), "new ids follow")
	_, err = p.Prompt("<<x>>", "", false)
	require.ErrorContains(t, err, "the tokenizer gives id 1024, the model's vocabulary has 1024")
}

// White space at the end of a template's prompt that is one token with an answer's first word is left to the answer.
// A folder with a tokenizer.model alone: its texts begin with BOS unless tokenizer_config.json says otherwise, tokens
// beside it get the next ids, and an answer keeps the space that it begins with.
func TestSentencePieceFolder(t *testing.T) {
	model, err := os.ReadFile("../tokenizer/testdata/scores.model")
	require.NoError(t, err)
	files := keys{
		"tokenizer.json": nil, "tokenizer.model": string(model), "tokenizer_config.json": keys{
			"eos_token": "</s>", "add_bos_token": nil,
			"added_tokens_decoder": keys{"460": keys{"content": "[INST]", "special": true}, "461": keys{"content": "[/INST]", "special": true}},
			"chat_template": "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]" +
				"{% else %} {{ m.content }}</s>{% endif %}{% endfor %}",
		},
	}
	p := opened(t, folder(t, files), "")
	targets, text := learned(t, p, question)
	require.Equal(t, "Two cups.</s>", targets)
	require.Equal(t, "[INST]  One cup? [/INST]  Two cups.</s>", text, "SentencePiece puts a space behind each special token")
	id, known := p.Tokenizer.ID("[/INST]")
	require.True(t, known)
	require.Equal(t, int32(461), id)
	ids := textIDs(t, p, "One cup")
	require.Equal(t, uint32(1), ids[0])
	require.Equal(t, uint32(2), ids[len(ids)-1])

	answer := p.Tokenizer.Encode("river")
	stream := p.Tokenizer.Continuation()
	var said strings.Builder
	for _, id := range answer {
		said.WriteString(stream.Push(id))
	}
	require.Equal(t, " river", said.String()+stream.Flush())
	require.Equal(t, "river", p.Tokenizer.Decode(answer))

	ranks, err := os.ReadFile("../tokenizer/testdata/tiktoken.tekken.json")
	require.NoError(t, err)
	files["tekken.json"], files["tokenizer_config.json"] = string(ranks), keys{"eos_token": "</s>", "add_bos_token": nil}
	p = opened(t, folder(t, files), "")
	ids = textIDs(t, p, "One cup")
	require.Equal(t, []uint32{1, 2}, []uint32{ids[0], ids[len(ids)-1]})
	delete(files, "tekken.json")
	files["tokenizer_config.json"] = keys{"eos_token": "</s>"}

	files["tokenizer_config.json"].(keys)["add_bos_token"] = false
	p = opened(t, folder(t, files), "")
	require.NotEqual(t, uint32(1), textIDs(t, p, "One cup")[0])
}

// Tokens that have no row are an error at once, unless a file adds them beyond the vocabulary: a text without them
// trains.
func TestVocabulariesThatAreTooLarge(t *testing.T) {
	open := func(files keys) error {
		dir := folder(t, files)
		model, err := pretrained.Open(dir)
		require.NoError(t, err)
		defer model.Close()
		_, err = New(model, dir, Options{Now: time.Now()})
		return err
	}
	p := opened(t, folder(t, nil), "")
	rows := p.Tokenizer.VocabSize()
	require.Equal(t, rows, p.Tokenizer.Size())
	require.NoError(t, open(keys{"config.json": keys{"vocab_size": rows}}))
	err := open(keys{"config.json": keys{"vocab_size": rows - 1}})
	said := fmt.Sprintf("the vocabulary has %d tokens, the embedding %d rows (tokenizer and weights belong", rows, rows-1)
	require.ErrorContains(t, err, said)
	require.True(t, usererr.Is(err, usererr.Format))
	beside := keys{"added_tokens_decoder": keys{fmt.Sprint(rows): keys{"content": "<image>", "special": true}}}
	require.NoError(t, open(keys{"config.json": keys{"vocab_size": rows}, "tokenizer_config.json": beside}))
}

func TestPromptsThatEndInSpace(t *testing.T) {
	dir := folder(t, nil)
	for prompt, open := range map[string]string{
		"ASSISTANT: ": " ", "ASSISTANT:": "", "<|assistant|>": "", "<|assistant|>\n": "", "answer: \n ": " ",
	} {
		p := opened(t, dir, `{% for m in messages %}{{ m.content }}|{% endfor %}{% if add_generation_prompt %}{{ "`+prompt+`" }}{% endif %}`)
		got, err := p.Prompt("a", "", false)
		require.NoError(t, err)
		require.Equal(t, open, got.Open, prompt)
		var ids []int32
		for _, id := range got.IDs {
			ids = append(ids, int32(id))
		}
		require.Equal(t, "a|"+strings.TrimSuffix(prompt, open), p.Tokenizer.Decode(ids))
		whole := p.Tokenizer.Encode("a|" + prompt + "yes")
		require.Equal(t, whole[:len(ids)], ids, "training saw the same")
	}
}

// The same where a decoder takes the space from a text's beginning: the prompt's end is no beginning.
func TestPromptsThatEndInSpaceOfSentencePiece(t *testing.T) {
	text, err := os.ReadFile("../tokenizer/testdata/llama2.tokenizer.json")
	require.NoError(t, err)
	joined := strings.Replace(string(text), `"merges":[`, `"merges":[["▁","a"],`, 1)
	joined = strings.Replace(joined, `"vocab":{`, `"vocab":{"▁a":482,`, 1)
	p := opened(t, folder(t, keys{"tokenizer.json": joined, "tokenizer_config.json": nil}),
		`{% for m in messages %}{{ m.content }}|{% endfor %}ASSISTANT: `)
	prompt, err := p.Prompt("a", "", false)
	require.NoError(t, err)
	require.Equal(t, " ", prompt.Open)
	whole := p.Tokenizer.Encode("a|ASSISTANT: aa")
	for i, id := range prompt.IDs {
		require.Equal(t, whole[i], int32(id), "training saw the same")
	}
}

// A template that cannot be parsed is an error where it is used: texts need none.
func TestBrokenTemplates(t *testing.T) {
	p := opened(t, folder(t, keys{"chat_template.jinja": "{% include 'a' %}"}), "")
	require.NotEmpty(t, textIDs(t, p, "One cup"))
	_, err := p.Prompt("a", "", true)
	require.NoError(t, err)
	_, err = p.Prompt("a", "", false)
	require.ErrorContains(t, err, "apply chat template: template line 1")
}
