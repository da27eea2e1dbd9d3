package tokenizer

import (
	"encoding/json/v2"
	"fmt"
	"strings"
)

type tekkenJSON struct {
	Config struct {
		Pattern          string `json:"pattern"`
		DefaultVocabSize int    `json:"default_vocab_size"`
		NumSpecialTokens int    `json:"default_num_special_tokens"`
	} `json:"config"`
	Vocab []struct {
		TokenBytes []byte `json:"token_bytes"`
	} `json:"vocab"`
	SpecialTokens []tekkenSpecial `json:"special_tokens"`
}

type tekkenSpecial struct {
	Rank     int32  `json:"rank"`
	TokenStr string `json:"token_str"`
}

// tekkenSpecials are the special tokens of files without such, in order (mistral-common's DEPRECATED_SPECIAL_TOKENS).
const tekkenSpecials = "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS] [TOOL_CALLS] " +
	"[IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT]"

// FromTekken reads Mistral's tekken.json: BPE of bytes that merges any two neighbours whose bytes are a token, the
// lowest rank first. The special tokens have the first ids. before and after are the tokens that a text begins and ends
// with; empty: none. beside and path are those of [FromJSON].
func FromTekken(data []byte, path, before, after string, beside []AddedToken) (*Tokenizer, error) {
	if len(data) > maxFileBytes {
		return nil, fail(path, "%d bytes, more than %d", len(data), maxFileBytes)
	}
	var file tekkenJSON
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, jsonError(path, "", err)
	}
	special, size := file.Config.NumSpecialTokens, file.Config.DefaultVocabSize
	if special < 0 || size < special || size > maxTokens || size-special > len(file.Vocab) {
		return nil, fail(path, "%d tokens of which %d are special, and %d in the list", size, special, len(file.Vocab)).At("config")
	}
	d := &definition{path: path, byteLevel: true, ignoreMerges: true, vocabulary: make(map[string]int32, size)}
	tokens, scores := make([]string, size), make([]float32, size)
	enter := func(id int, token string) error {
		if other, twice := d.vocabulary[token]; twice {
			return fail(path, "the ids %d and %d have the same token %.40q", other, id, token)
		}
		d.vocabulary[token], tokens[id], scores[id] = int32(id), token, -float32(id)
		return nil
	}
	named, err := file.specials(path)
	if err != nil {
		return nil, err
	}
	for id := range special {
		token, ok := named[int32(id)]
		if !ok {
			token = fmt.Sprintf("<SPECIAL_%d>", id)
		}
		if err := enter(id, token); err != nil {
			return nil, err
		}
		d.added = append(d.added, AddedToken{ID: int32(id), Content: token, Special: true})
	}
	for i, token := range file.Vocab[:size-special] {
		if err := enter(special+i, charsOf(token.TokenBytes)); err != nil {
			return nil, err
		}
	}
	if err := d.mergesByScore(tokens, scores, func(id int) bool { return id >= special }); err != nil {
		return nil, err
	}
	p, err := d.finder(component{Type: "Split", Pattern: componentPattern{Regex: &file.Config.Pattern}}, "config/pattern")
	if err != nil {
		return nil, err
	}
	d.preTokenizers = []preTokenizer{split(p, behaviors["Isolated"], false)}
	d.addBeside(beside)
	d.surroundBy(before, after)
	return d.build()
}

// specials are the special tokens that have names, by id.
func (f tekkenJSON) specials(path string) (map[int32]string, error) {
	list := f.SpecialTokens
	if list == nil {
		for i, token := range strings.Fields(tekkenSpecials)[:min(20, f.Config.NumSpecialTokens)] {
			list = append(list, tekkenSpecial{int32(i), token})
		}
	}
	named := map[int32]string{}
	for _, token := range list {
		if _, twice := named[token.Rank]; twice || token.Rank < 0 || int(token.Rank) >= f.Config.NumSpecialTokens {
			return nil, fail(path, "the special token %.40q has the rank %d, which is another one's or no rank at all",
				token.TokenStr, token.Rank).At("special_tokens")
		}
		named[token.Rank] = token.TokenStr
	}
	return named, nil
}

// charsOf writes bytes as a token of a byte-level vocabulary.
func charsOf(raw []byte) string {
	var out strings.Builder
	for _, b := range raw {
		out.WriteRune(charOfByte[b])
	}
	return out.String()
}
