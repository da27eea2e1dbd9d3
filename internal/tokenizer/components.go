package tokenizer

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// component is the union of the fields of the components that are supported.
type component struct {
	Type             string           `json:"type"`
	Normalizers      []jsontext.Value `json:"normalizers"`
	Pretokenizers    []jsontext.Value `json:"pretokenizers"`
	Processors       []jsontext.Value `json:"processors"`
	Decoders         []jsontext.Value `json:"decoders"`
	AddPrefixSpace   *bool            `json:"add_prefix_space"`
	PrependScheme    *string          `json:"prepend_scheme"`
	Replacement      *string          `json:"replacement"`
	Split            *bool            `json:"split"`
	UseRegex         *bool            `json:"use_regex"`
	IndividualDigits bool             `json:"individual_digits"`
	Behavior         string           `json:"behavior"`
	Invert           bool             `json:"invert"`
	Prepend          string           `json:"prepend"`
	Content          *string          `json:"content"`
	StripLeft        *bool            `json:"strip_left"`
	StripRight       *bool            `json:"strip_right"`
	Start            int              `json:"start"`
	Stop             int              `json:"stop"`
	Pattern          componentPattern `json:"pattern"`
	Single           []templatePiece  `json:"single"`
	SpecialTokens    map[string]struct {
		IDs []int32 `json:"ids"`
	} `json:"special_tokens"`
	Cls *idOf `json:"cls"`
	Sep *idOf `json:"sep"`
}

// componentPattern is what is found, as it stands or as a regular expression.
type componentPattern struct {
	String *string `json:"String"`
	Regex  *string `json:"Regex"`
}

// idOf is the id in a token and its id, ["<s>", 0].
type idOf struct{ ID int32 }

func (t *idOf) UnmarshalJSON(b []byte) error {
	var pair []jsontext.Value
	if err := json.Unmarshal(b, &pair); err != nil || len(pair) != 2 {
		return errors.New("neither a token nor its id")
	}
	if err := json.Unmarshal(pair[1], &t.ID); err != nil || t.ID < 0 || t.ID >= maxTokens {
		return fmt.Errorf("the id is outside 0..%d", maxTokens-1)
	}
	return nil
}

// templatePiece is the text, or a token beside it.
type templatePiece struct {
	SpecialToken *struct {
		ID string `json:"id"`
	} `json:"SpecialToken"`
	Sequence *struct {
		ID string `json:"id"`
	} `json:"Sequence"`
}

// sequence holds what a component of type Sequence contains, whichever kind it is.
func (c component) sequence() []jsontext.Value {
	for _, list := range [][]jsontext.Value{c.Normalizers, c.Pretokenizers, c.Processors, c.Decoders} {
		if list != nil {
			return list
		}
	}
	return nil
}

func (c component) contentOf() string {
	if c.Content == nil {
		return ""
	}
	return *c.Content
}

// A stage is a member of tokenizer.json that holds a component or a Sequence of them.
type stage struct {
	member string // "pre_tokenizer"
	name   string // "pre-tokenizer"
	types  []string
}

var (
	normalizerStage = stage{"normalizer", "normalizer", []string{
		"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip", "Prepend", "Replace",
	}}
	preTokenizerStage = stage{"pre_tokenizer", "pre-tokenizer", []string{
		"ByteLevel", "Split", "Digits", "Metaspace", "Punctuation", "Whitespace", "WhitespaceSplit",
	}}
	postProcessorStage = stage{"post_processor", "post-processor", []string{
		"ByteLevel", "TemplateProcessing", "RobertaProcessing", "BertProcessing",
	}}
	decoderStage = stage{"decoder", "decoder", []string{"ByteLevel", "Replace", "ByteFallback", "Fuse", "Metaspace", "Strip"}}
)

// absent is of a stage that the file leaves out or gives as null.
func absent(value jsontext.Value) bool { return value.Kind() == 0 || value.Kind() == 'n' }

// flatten lists the components of value in order: none for null, one, or those of nested Sequences.
func (d *definition) flatten(value jsontext.Value, s stage, where string, add func(component, string) error) error {
	var kind struct {
		Type string `json:"type"`
	}
	if absent(value) {
		return nil
	}
	if err := json.Unmarshal(value, &kind); err != nil {
		return jsonError(d.path, where, err)
	}
	// The fields of an unknown type may have any shape, so the type comes first.
	if kind.Type != "Sequence" && !slices.Contains(s.types, kind.Type) {
		return unsupported(d.path, "the %s %.40q", s.name, kind.Type).At("%s", where).
			Hinted("these are computed: %s", strings.Join(s.types, ", "))
	}
	var c component
	if err := json.Unmarshal(value, &c); err != nil {
		return jsonError(d.path, where, err)
	}
	if c.Type != "Sequence" {
		if d.components++; d.components > maxComponents {
			return unsupported(d.path, "more than %d components", maxComponents).At("%s", where)
		}
		return add(c, where)
	}
	for i, v := range c.sequence() {
		if err := d.flatten(v, s, fmt.Sprintf("%s[%d]", where, i), add); err != nil {
			return err
		}
	}
	return nil
}

func (d *definition) addComponents(file tokenizerJSON) error {
	for _, part := range []struct {
		value jsontext.Value
		stage
		add func(component, string) error
	}{
		{file.Normalizer, normalizerStage, d.addNormalizer},
		{file.PreTokenizer, preTokenizerStage, d.addPreTokenizer},
		{file.PostProcessor, postProcessorStage, d.addPostProcessor},
		{file.Decoder, decoderStage, d.addDecoder},
	} {
		if err := d.flatten(part.value, part.stage, part.member, part.add); err != nil {
			return err
		}
	}
	switch {
	case d.byteLevel != (d.byteDecoders == 1):
		return unsupported(d.path, "a ByteLevel pre-tokenizer without such a decoder, or the other way round").At("pre_tokenizer and decoder")
	case d.byteLevel && d.byteFallback && d.vocabulary["<0x00>"] > 0:
		return unsupported(d.path, "byte_fallback beside ByteLevel").At("model")
	case absent(file.Decoder):
		return unsupported(d.path, "no decoder: tokens would be read with spaces between them").At("decoder")
	}
	return nil
}

// addPostProcessor enters a component of `post_processor`.
func (d *definition) addPostProcessor(c component, where string) error {
	switch c.Type {
	case "TemplateProcessing":
		return d.surround(c, where)
	case "RobertaProcessing", "BertProcessing":
		if c.Cls == nil || c.Sep == nil {
			return fail(d.path, "%s without cls or sep", c.Type).At("%s", where)
		}
		d.around = surroundings{slices.Concat([]int32{c.Cls.ID}, d.around.before), slices.Concat(d.around.after, []int32{c.Sep.ID})}
	}
	return nil // ByteLevel changes offsets, which do not concern this package
}

// surround reads what a post-processor writes around one text.
func (d *definition) surround(c component, where string) error {
	texts := 0
	var before, after []int32
	for _, piece := range c.Single {
		switch {
		case piece.Sequence != nil && piece.Sequence.ID == "A":
			texts++
		case piece.SpecialToken == nil:
			return unsupported(d.path, "a piece of \"single\" that is neither a special token nor the text A").At("%s", where)
		default:
			token, ok := c.SpecialTokens[piece.SpecialToken.ID]
			if !ok {
				return fail(d.path, "special_tokens has no %.40q", piece.SpecialToken.ID).At("%s", where)
			}
			if texts == 0 {
				before = append(before, token.IDs...)
			} else {
				after = append(after, token.IDs...)
			}
		}
	}
	if texts != 1 {
		return unsupported(d.path, "%d texts in \"single\" instead of one", texts).At("%s", where)
	}
	for _, id := range slices.Concat(before, after) {
		if id < 0 || id >= maxTokens {
			return fail(d.path, "the id %d is outside 0..%d", id, maxTokens-1).At("%s", where)
		}
	}
	d.around = surroundings{slices.Concat(before, d.around.before), slices.Concat(d.around.after, after)}
	return nil
}
