package pretrained

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
)

// TokenizerSource is what a model carries about its tokenizer: either JSON or the GGUF vocabulary is set, or neither.
type TokenizerSource struct {
	JSON []byte // tokenizer.json, unchecked up to its size

	Model  string   // GGUF: "gpt2" (byte-level BPE), "llama" (SentencePiece), …
	Pre    string   // GGUF: the pre-tokenizer's name
	Tokens []string // GGUF: by id
	Types  []int    // GGUF: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; as long as Tokens, or empty
	Merges []string // GGUF: "left right", by rank

	ChatTemplate                           string // Jinja; empty: none
	BosToken, EosToken, UnkToken, PadToken string // empty: none
	AddBos                                 bool   // a text without a template begins with BosToken
}

// tokenizerConfigJSON is tokenizer_config.json.
type tokenizerConfigJSON struct {
	ChatTemplate chatTemplate `json:"chat_template"`
	BosToken     specialToken `json:"bos_token"`
	EosToken     specialToken `json:"eos_token"`
	UnkToken     specialToken `json:"unk_token"`
	PadToken     specialToken `json:"pad_token"`
	AddBosToken  *bool        `json:"add_bos_token"`
}

// specialToken is a string or an object with the string under content.
type specialToken string

func (s *specialToken) UnmarshalJSON(b []byte) error {
	if jsontext.Value(b).Kind() == '{' {
		var object struct {
			Content string `json:"content"`
		}
		err := json.Unmarshal(b, &object)
		*s = specialToken(object.Content)
		return err
	}
	return json.Unmarshal(b, (*string)(s))
}

// chatTemplate is a string or a list of named ones, of which the one named default counts.
type chatTemplate string

func (c *chatTemplate) UnmarshalJSON(b []byte) error {
	if jsontext.Value(b).Kind() != '[' {
		return json.Unmarshal(b, (*string)(c))
	}
	var list []struct {
		Name     string `json:"name"`
		Template string `json:"template"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	for _, t := range list {
		if t.Name == "default" {
			*c = chatTemplate(t.Template)
			return nil
		}
	}
	return fmt.Errorf("none of the %d chat templates is named default", len(list))
}
