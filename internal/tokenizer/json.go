package tokenizer

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"strings"

	"qlora-wgpu/internal/usererr"
)

const maxJSONDepth = 64

type tokenizerJSON struct {
	AddedTokens   []AddedToken   `json:"added_tokens"`
	Normalizer    jsontext.Value `json:"normalizer"`
	PreTokenizer  jsontext.Value `json:"pre_tokenizer"`
	PostProcessor jsontext.Value `json:"post_processor"`
	Decoder       jsontext.Value `json:"decoder"`
	Model         jsontext.Value `json:"model"`
	Padding       *struct {
		PadToken string `json:"pad_token"`
	} `json:"padding"`
}

type modelJSON struct {
	Type                    string           `json:"type"`
	Dropout                 float64          `json:"dropout"`
	UnkToken                *string          `json:"unk_token"`
	ContinuingSubwordPrefix string           `json:"continuing_subword_prefix"`
	EndOfWordSuffix         string           `json:"end_of_word_suffix"`
	FuseUnk                 bool             `json:"fuse_unk"`
	ByteFallback            bool             `json:"byte_fallback"`
	IgnoreMerges            bool             `json:"ignore_merges"`
	Vocab                   map[string]int32 `json:"vocab"`
	Merges                  []mergeJSON      `json:"merges"`
}

// mergeJSON is "a b" in old files, ["a", "b"] in new ones, which alone can hold tokens with spaces.
type mergeJSON [2]string

func (m *mergeJSON) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '"' {
		var pair []string
		if err := json.UnmarshalDecode(dec, &pair); err != nil {
			return err
		}
		if len(pair) != 2 {
			return errors.New("a merge has two parts")
		}
		*m = mergeJSON(pair)
		return nil
	}
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	pair, err := splitMerge(token.String())
	*m = mergeJSON(pair)
	return err
}

func splitMerge(s string) ([2]string, error) {
	left, right, ok := strings.Cut(s, " ")
	if !ok || left == "" || right == "" || strings.Contains(right, " ") {
		return [2]string{}, errors.New("a merge is two tokens with one space between them")
	}
	return [2]string{left, right}, nil
}

// onlyBPE is the way out of another kind of tokenizer.
const onlyBPE = "byte-level BPE and SentencePiece's BPE are supported: choose a model with such a tokenizer"

// FromJSON reads Hugging Face's tokenizer.json. Every component's type is checked: what this package does not compute
// is refused by name ([usererr.Unsupported]), a damaged or ambiguous file with its place ([usererr.Format]). beside are
// the tokens that other files name, in the order in which they take effect. path is for messages.
func FromJSON(data []byte, path string, beside []AddedToken) (*Tokenizer, error) {
	if len(data) > maxFileBytes {
		return nil, fail(path, "%d bytes, more than %d", len(data), maxFileBytes)
	}
	if offset := tooDeep(data); offset >= 0 {
		return nil, fail(path, "nested deeper than %d levels", maxJSONDepth).At("offset %d", offset)
	}
	var file tokenizerJSON
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, jsonError(path, "", err)
	}
	var kind struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(orNull(file.Model), &kind); err != nil {
		return nil, jsonError(path, "model", err)
	}
	if kind.Type != "BPE" {
		return nil, unsupported(path, "the tokenizer model %.40q", kind.Type).At("model").Hinted(onlyBPE)
	}
	var model modelJSON
	if err := json.Unmarshal(file.Model, &model); err != nil {
		return nil, jsonError(path, "model", err)
	}
	for _, refuse := range []struct {
		is   bool
		name string
	}{
		{model.Dropout != 0, "dropout"},
		{model.ContinuingSubwordPrefix != "", "continuing_subword_prefix"},
		{model.EndOfWordSuffix != "", "end_of_word_suffix"},
	} {
		if refuse.is {
			return nil, unsupported(path, "BPE with %s", refuse.name).At("model").Hinted(onlyBPE)
		}
	}
	d := &definition{path: path, vocabulary: model.Vocab, ignoreMerges: model.IgnoreMerges, byteFallback: model.ByteFallback,
		unknown: model.UnkToken, fuseUnknown: model.FuseUnk, added: file.AddedTokens}
	for _, m := range model.Merges {
		d.merges = append(d.merges, m)
	}
	if file.Padding != nil {
		d.pad = file.Padding.PadToken
	}
	d.addBeside(beside)
	if err := d.addComponents(file); err != nil {
		return nil, err
	}
	return d.build()
}

func orNull(v jsontext.Value) jsontext.Value {
	if len(v) == 0 {
		return jsontext.Value("null")
	}
	return v
}

func jsonError(path, where string, err error) error {
	e := fail(path, "%w", err)
	e.Where = where
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		e.Err = usererr.Plain(syntactic.Err)
		e.Where = strings.TrimPrefix(where+string(syntactic.JSONPointer), "/")
		if where == "" {
			return e.At("offset %d", syntactic.ByteOffset)
		}
	} else if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		e.Where = strings.TrimPrefix(where+string(semantic.JSONPointer), "/")
	}
	return e
}

// tooDeep is the offset where brackets nest deeper than maxJSONDepth, or -1.
func tooDeep(data []byte) int {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxJSONDepth {
				return i
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return -1
}

var _ json.UnmarshalerFrom = (*mergeJSON)(nil)
