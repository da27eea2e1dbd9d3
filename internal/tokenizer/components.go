package tokenizer

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"regexp"

	"qlora-wgpu/internal/usererr"
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
	case "Sequence", "NFC", "ByteLevel", "Split", "Digits":
	case "TemplateProcessing":
		return add(component{Type: kind.Type}, where)
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
		// Offsets do not concern this package, and the tokens that a template adds are the chat template's business.
		if c.Type != "ByteLevel" && c.Type != "TemplateProcessing" {
			return unsupported(d.path, "post-processor %q", c.Type).At("%s", where)
		}
		return nil
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

func (d *definition) addPreTokenizer(c component, where string) error {
	switch c.Type {
	case "ByteLevel":
		if c.AddPrefixSpace == nil || *c.AddPrefixSpace {
			d.preTokenizers = append(d.preTokenizers, prefixSpace)
		}
		if c.UseRegex == nil || *c.UseRegex {
			d.preTokenizers = append(d.preTokenizers, scanAll(scanGPT2))
		}
		return nil
	case "Digits":
		d.preTokenizers = append(d.preTokenizers, digits(c.IndividualDigits))
		return nil
	case "Split":
		if c.Behavior != "Isolated" && c.Behavior != "Removed" {
			return unsupported(d.path, "Split with behavior %q", c.Behavior).At("%s", where)
		}
		split, err := d.split(c, where)
		if err != nil {
			return err
		}
		d.preTokenizers = append(d.preTokenizers, split)
		return nil
	}
	return unsupported(d.path, "pre-tokenizer %q", c.Type).At("%s", where)
}

func (d *definition) split(c component, where string) (preTokenizer, error) {
	// With invert, the matches are what is kept.
	removeMatches := c.Behavior == "Removed" && !c.Invert
	removeGaps := c.Behavior == "Removed" && c.Invert
	switch {
	case c.Pattern.String != nil:
		return cut(regexp.MustCompile(regexp.QuoteMeta(*c.Pattern.String)), removeMatches, removeGaps), nil
	case c.Pattern.Regex == nil:
		return nil, usererr.New("read tokenizer", d.path, "Split has no pattern").Of(usererr.Format).At("%s", where)
	}
	pattern := *c.Pattern.Regex
	if next, ok := scanners[pattern]; ok && !removeMatches {
		return scanAll(next), nil
	}
	re, err := compilePattern(pattern)
	if err != nil {
		return nil, unsupported(d.path, "the pattern %q (%v)", pattern, err).At("%s", where).
			Hinted("the patterns of GPT-2, Llama 3 and Qwen2 are supported, and those that need no backtracking")
	}
	return cut(re, removeMatches, removeGaps), nil
}
