package pretrained

import (
	"cmp"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// addedTokenJSON is a token as tokenizer_config.json, special_tokens_map.json and added_tokens_decoder write it: a
// string, or an object with its flags.
type addedTokenJSON struct {
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized *bool  `json:"normalized"` // by default what is not special
	Special    bool   `json:"special"`
}

func (a *addedTokenJSON) UnmarshalJSON(b []byte) error {
	switch jsontext.Value(b).Kind() {
	case '"':
		return json.Unmarshal(b, &a.Content)
	case '{':
		type plain addedTokenJSON
		return json.Unmarshal(b, (*plain)(a))
	}
	return errors.New("neither a string nor an object with content")
}

// token is an added token; special in any case where it is named for a purpose.
func (a addedTokenJSON) token(named bool) AddedToken {
	special := a.Special || named
	normalized := !special
	if a.Normalized != nil {
		normalized = *a.Normalized
	}
	return AddedToken{
		Content: a.Content, SingleWord: a.SingleWord, LStrip: a.LStrip, RStrip: a.RStrip, Normalized: normalized, Special: special,
	}
}

// tokenNames are the purposes that every tokenizer knows; a model's own end in _token too.
var tokenNames = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// specialTokens are the tokens of a folder that files beside tokenizer.json name.
type specialTokens struct {
	named map[string]*addedTokenJSON // by purpose; nil: set to null
	extra []addedTokenJSON
}

// read takes over what a file says.
func (s *specialTokens) read(data []byte, path string) error {
	var keys map[string]jsontext.Value
	if err := decodeJSON(data, path, &keys); err != nil {
		return err
	}
	at := func(key string, err error) error { return keyError(data, path, key, err) }
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		value := keys[key]
		known := slices.Contains(tokenNames, key)
		switch {
		case key == "extra_special_tokens" || key == "additional_special_tokens":
			if err := s.readExtra(value); err != nil {
				return at(key, err)
			}
		case known && value.Kind() == 'n':
			s.named[key] = nil
		case known, strings.HasSuffix(key, "_token") && (value.Kind() == '"' || value.Kind() == '{'):
			var token addedTokenJSON
			if err := json.Unmarshal(value, &token); err != nil {
				return at(key, err)
			}
			s.named[key] = &token
		}
	}
	return nil
}

// byPurpose sorts the names that every tokenizer knows in front of a model's own.
func byPurpose(a, b string) int {
	place := func(key string) int {
		if i := slices.Index(tokenNames, key); i >= 0 {
			return i
		}
		return len(tokenNames)
	}
	return cmp.Or(cmp.Compare(place(a), place(b)), strings.Compare(a, b))
}

// readExtra reads a list of tokens, or an object of such that a model has purposes of its own for.
func (s *specialTokens) readExtra(value jsontext.Value) error {
	switch value.Kind() {
	case 'n':
		return nil
	case '{':
		var own map[string]addedTokenJSON
		if err := json.Unmarshal(value, &own); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(own)) {
			s.named[name] = new(own[name])
		}
		return nil
	}
	var list []addedTokenJSON
	if err := json.Unmarshal(value, &list); err != nil {
		return err
	}
	s.extra = append(s.extra, list...)
	return nil
}

// readTokenizer reads the files of a folder that concern its tokenizer, with the precedence that transformers 5 gives
// them (PreTrainedTokenizerBase._from_pretrained): special_tokens_map.json overrides tokenizer_config.json, and
// added_tokens.json counts, only where the latter has no added_tokens_decoder; chat_template.jinja and the files of
// additional_chat_templates go before the templates in tokenizer_config.json, and a processor's chat_template.json
// counts where there is none of both, of which transformers' tokenizer knows nothing. add_bos_token and add_eos_token
// count beside a tokenizer.model or tekken.json alone: the post-processor of a tokenizer.json says what surrounds a
// text.
func readTokenizer(folder Folder, in func(string) string) (t TokenizerSource, err error) {
	read := func(name string) (data []byte) {
		if err != nil {
			return nil
		}
		var failed error
		if data, failed = readText(folder, name, in(name)); failed != nil && !errors.Is(failed, fs.ErrNotExist) {
			err = failed
		}
		return data
	}
	const configFile, mapFile, addedFile = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
	t.JSON = read("tokenizer.json")
	if t.JSON == nil {
		t.Tekken = read("tekken.json")
	}
	if t.JSON == nil && t.Tekken == nil {
		t.SentencePiece = read("tokenizer.model")
	}
	config, tokensMap, added := read(configFile), read(mapFile), read(addedFile)
	if err != nil {
		return t, err
	}
	tokens := &specialTokens{named: map[string]*addedTokenJSON{}}
	var decoder struct {
		Tokens map[string]addedTokenJSON `json:"added_tokens_decoder"`
	}
	if config != nil {
		if err := tokens.read(config, in(configFile)); err != nil {
			return t, err
		}
		if err := decodeJSON(config, in(configFile), &decoder); err != nil {
			return t, err
		}
	}
	var later map[string]int
	if decoder.Tokens == nil {
		if tokensMap != nil {
			if err := tokens.read(tokensMap, in(mapFile)); err != nil {
				return t, err
			}
		}
		if added != nil {
			if err := decodeJSON(added, in(addedFile), &later); err != nil {
				return t, err
			}
		}
	}
	if t.Added, err = tokens.added(decoder.Tokens, later); err != nil {
		return t, keyError(config, in(configFile), "added_tokens_decoder", err)
	}
	t.Named = map[string]string{}
	for purpose, token := range tokens.named {
		if token != nil {
			t.Named[purpose] = token.Content
		}
	}
	var j tokenizerConfigJSON
	if config != nil {
		if err := decodeJSON(config, in(configFile), &j); err != nil {
			return t, err
		}
	}
	if t.JSON == nil { // LlamaTokenizer's defaults, and mistral-common's
		t.AddBos, t.AddEos = j.AddBos == nil || *j.AddBos, j.AddEos != nil && *j.AddEos
	}
	t.Templates, err = readTemplates(folder, in, j)
	return t, err
}

// added lists what becomes of a tokenizer.json: first the tokens of added_tokens_decoder by id, or those of
// added_tokens.json, then the named and the extra ones that nothing has added yet.
func (s *specialTokens) added(decoder map[string]addedTokenJSON, later map[string]int) (list []AddedToken, err error) {
	isNamed := map[string]bool{}
	for _, token := range s.named {
		isNamed[contentOf(token)] = true
	}
	ids := map[string]int{}
	for id, token := range decoder {
		if ids[id], err = strconv.Atoi(id); err != nil || token.Content == "" {
			return nil, fmt.Errorf("%q is no id, or its token has no content", id)
		}
	}
	done := map[string]bool{"": true}
	add := func(token AddedToken) {
		list, done[token.Content] = append(list, token), true
	}
	for _, id := range slices.SortedFunc(maps.Keys(ids), func(a, b string) int { return ids[a] - ids[b] }) {
		add(decoder[id].token(isNamed[decoder[id].Content]))
	}
	for _, content := range slices.SortedFunc(maps.Keys(later), func(a, b string) int { return later[a] - later[b] }) {
		token := addedTokenJSON{Content: content}.token(isNamed[content])
		token.IfMissing = true
		add(token)
	}
	var rest []addedTokenJSON
	for _, purpose := range slices.SortedFunc(maps.Keys(s.named), byPurpose) {
		if token := s.named[purpose]; token != nil {
			rest = append(rest, *token)
		}
	}
	for _, token := range append(rest, s.extra...) {
		if !done[token.Content] {
			missing := token.token(true)
			missing.IfMissing = true
			add(missing)
		}
	}
	return list, nil
}

func contentOf(token *addedTokenJSON) string {
	if token == nil {
		return ""
	}
	return token.Content
}

// TemplatesFolder holds chat templates beside the one in chat_template.jinja.
const TemplatesFolder = "additional_chat_templates"

// readTemplates gives the chat templates by name.
func readTemplates(folder Folder, in func(string) string, config tokenizerConfigJSON) (map[string]string, error) {
	files := map[string]string{}
	text, err := readText(folder, "chat_template.jinja", in("chat_template.jinja"))
	if err == nil {
		files[DefaultTemplate] = string(text)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if config.SplitSpecialTokens {
		return nil, usererr.New(op, in("tokenizer_config.json"), "split_special_tokens is true: no special token would be one").
			Of(usererr.Unsupported).Hinted("remove the key")
	}
	names, err := folder.List(TemplatesFolder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, file := range names {
		name, isTemplate := strings.CutSuffix(file, ".jinja")
		if !isTemplate {
			continue
		}
		path := TemplatesFolder + "/" + file
		if text, err = readText(folder, path, in(path)); err != nil {
			return nil, err
		}
		files[name] = string(text)
	}
	if len(files) > 0 {
		return files, nil
	}
	if config.ChatTemplate != nil {
		return config.ChatTemplate, nil
	}
	const ofProcessor = "chat_template.json" // of models that read images, whose tokenizer may have none
	text, err = readText(folder, ofProcessor, in(ofProcessor))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	err = decodeJSON(text, in(ofProcessor), &config)
	return config.ChatTemplate, err
}
