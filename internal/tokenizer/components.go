package tokenizer

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
)

// component is the union of the fields of the components that are supported.
type component struct {
	Type             string           `json:"type"`
	Normalizers      []jsontext.Value `json:"normalizers"`
	Pretokenizers    []jsontext.Value `json:"pretokenizers"`
	Processors       []jsontext.Value `json:"processors"`
	Decoders         []jsontext.Value `json:"decoders"`
	AddPrefixSpace   *bool            `json:"add_prefix_space"`
	UseRegex         *bool            `json:"use_regex"`
	IndividualDigits bool             `json:"individual_digits"`
	Behavior         string           `json:"behavior"`
	Invert           bool             `json:"invert"`
	Pattern          struct {
		String *string `json:"String"`
		Regex  *string `json:"Regex"`
	} `json:"pattern"`
	Single        []templatePiece `json:"single"`
	SpecialTokens map[string]struct {
		IDs []int32 `json:"ids"`
	} `json:"special_tokens"`
	Cls *idOf `json:"cls"`
	Sep *idOf `json:"sep"`
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

// flatten lists the components of value in order: none for null, one, or those of nested Sequences.
func (d *definition) flatten(value jsontext.Value, where string, add func(component, string) error) error {
	var kind struct {
		Type string `json:"type"`
	}
	if value.Kind() == 0 || value.Kind() == 'n' {
		return nil
	}
	if err := json.Unmarshal(value, &kind); err != nil {
		return jsonError(d.path, where, err)
	}
	// The fields of an unknown type may have any shape, so the type comes first.
	switch kind.Type {
	case "Sequence", "NFC", "ByteLevel", "Split", "Digits", "TemplateProcessing", "RobertaProcessing", "BertProcessing":
	default:
		return unsupported(d.path, "component %q", kind.Type).At("%s", where)
	}
	var c component
	if err := json.Unmarshal(value, &c); err != nil {
		return jsonError(d.path, where, err)
	}
	if c.Type != "Sequence" {
		return add(c, where)
	}
	for i, v := range c.sequence() {
		if err := d.flatten(v, fmt.Sprintf("%s[%d]", where, i), add); err != nil {
			return err
		}
	}
	return nil
}

func (d *definition) components(file tokenizerJSON) error {
	err := d.flatten(file.Normalizer, "normalizer", func(c component, where string) error {
		if c.Type != "NFC" {
			return unsupported(d.path, "normalizer %q", c.Type).At("%s", where)
		}
		d.normalize = nfc
		return nil
	})
	if err != nil {
		return err
	}
	byteLevel := false
	err = d.flatten(file.PreTokenizer, "pre_tokenizer", func(c component, where string) error {
		if byteLevel {
			return unsupported(d.path, "pre-tokenizer %q after ByteLevel", c.Type).At("%s", where)
		}
		byteLevel = c.Type == "ByteLevel"
		return d.addPreTokenizer(c, where)
	})
	if err != nil {
		return err
	}
	if !byteLevel {
		return unsupported(d.path, "no ByteLevel pre-tokenizer").At("pre_tokenizer").Hinted("byte-level BPE is supported")
	}
	err = d.flatten(file.PostProcessor, "post_processor", func(c component, where string) error {
		switch c.Type {
		case "ByteLevel": // offsets do not concern this package
			return nil
		case "TemplateProcessing":
			return d.surround(c, where)
		case "RobertaProcessing", "BertProcessing":
			if c.Cls == nil || c.Sep == nil {
				return fail(d.path, "%s without cls or sep", c.Type).At("%s", where)
			}
			d.around = surroundings{slices.Concat([]int32{c.Cls.ID}, d.around.before), slices.Concat(d.around.after, []int32{c.Sep.ID})}
			return nil
		}
		return unsupported(d.path, "post-processor %q", c.Type).At("%s", where)
	})
	if err != nil {
		return err
	}
	decoders := 0
	err = d.flatten(file.Decoder, "decoder", func(c component, where string) error {
		if c.Type != "ByteLevel" {
			return unsupported(d.path, "decoder %q", c.Type).At("%s", where)
		}
		decoders++
		return nil
	})
	if err == nil && decoders != 1 {
		return unsupported(d.path, "%d ByteLevel decoders instead of one", decoders).At("decoder")
	}
	return err
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

func (d *definition) addPreTokenizer(c component, where string) error {
	switch c.Type {
	case "ByteLevel":
		if c.AddPrefixSpace == nil || *c.AddPrefixSpace {
			d.preTokenizers = append(d.preTokenizers, prefixSpace)
		}
		if c.UseRegex == nil || *c.UseRegex {
			d.preTokenizers = append(d.preTokenizers, isolated(gpt2Pattern))
		}
		return nil
	case "Digits":
		d.preTokenizers = append(d.preTokenizers, digits(c.IndividualDigits))
		return nil
	case "Split":
		b, ok := behaviors[c.Behavior]
		if !ok {
			return unsupported(d.path, "Split with behavior %q", c.Behavior).At("%s", where)
		}
		find, err := d.finder(c, where)
		if err != nil {
			return err
		}
		d.preTokenizers = append(d.preTokenizers, split(find, b, c.Invert))
		return nil
	}
	return unsupported(d.path, "pre-tokenizer %q", c.Type).At("%s", where)
}

// finder finds what a component's pattern matches.
func (d *definition) finder(c component, where string) (finder, error) {
	switch {
	case c.Pattern.String != nil && *c.Pattern.String == "":
		return nil, fail(d.path, "the pattern of %s is the empty text", c.Type).At("%s", where)
	case c.Pattern.String != nil:
		return literal(*c.Pattern.String), nil
	case c.Pattern.Regex == nil:
		return nil, fail(d.path, "%s has no pattern", c.Type).At("%s", where)
	}
	p, err := compilePattern(*c.Pattern.Regex)
	if err != nil {
		return nil, unsupported(d.path, "the pattern %q (%v)", *c.Pattern.Regex, err).At("%s", where).
			Hinted("patterns of classes, groups, look-aheads and repetitions are supported")
	}
	return p.find, nil
}
