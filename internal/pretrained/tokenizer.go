package pretrained

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
)

// DefaultTemplate is the name of the chat template that is taken where nothing asks for another one.
const DefaultTemplate = "default"

// TokenizerSource is what a model carries about its tokenizer: one of JSON, Tekken, SentencePiece and the GGUF
// vocabulary is set, or none.
type TokenizerSource struct {
	JSON          []byte       // tokenizer.json, unchecked up to its size
	Tekken        []byte       // Mistral's tekken.json of a folder without tokenizer.json, unchecked likewise
	SentencePiece []byte       // tokenizer.model of a folder without these, unchecked likewise
	Added         []AddedToken // what the files beside these say of the tokens, in the order in which it takes effect

	Model  string    // GGUF: "gpt2" (byte-level BPE), "llama" (SentencePiece), …
	Pre    string    // GGUF: the pre-tokenizer's name
	Tokens []string  // GGUF: by id
	Types  []int     // GGUF: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; as long as Tokens, or empty
	Merges []string  // GGUF: "left right", by rank
	Scores []float32 // GGUF: by id
	// GGUF: a space goes in front of a text; several spaces count as one
	AddSpacePrefix, CollapseSpaces bool
	// GGUF, Tekken and SentencePiece: a text without a template begins with the BOS token, ends with the EOS token
	AddBos, AddEos bool

	Templates map[string]string // chat templates in Jinja by name; empty: none
	Named     map[string]string // special tokens by what they are for: bos_token, eos_token, …; those that are null are absent
}

// AddedToken is a token that a file beside tokenizer.json names.
type AddedToken struct {
	Content                                         string
	SingleWord, LStrip, RStrip, Normalized, Special bool
	// IfMissing: only where tokenizer.json does not add the token itself.
	IfMissing bool
}

// tokenizerConfigJSON is tokenizer_config.json, without the special tokens.
type tokenizerConfigJSON struct {
	ChatTemplate       chatTemplates `json:"chat_template"`
	SplitSpecialTokens bool          `json:"split_special_tokens"`
	AddBos             *bool         `json:"add_bos_token"`
	AddEos             *bool         `json:"add_eos_token"`
}

// chatTemplates is a string, a list of named ones, or an object of them.
type chatTemplates map[string]string

func (c *chatTemplates) UnmarshalJSON(b []byte) error {
	switch kind := jsontext.Value(b).Kind(); kind {
	case 'n':
		return nil
	case '{':
		return json.Unmarshal(b, (*map[string]string)(c))
	case '[':
		var list []struct {
			Name     string `json:"name"`
			Template string `json:"template"`
		}
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
		*c = chatTemplates{}
		for _, t := range list {
			if _, twice := (*c)[t.Name]; twice {
				return fmt.Errorf("two chat templates are named %q", t.Name)
			}
			(*c)[t.Name] = t.Template
		}
		return nil
	}
	var one string
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*c = chatTemplates{DefaultTemplate: one}
	return nil
}
