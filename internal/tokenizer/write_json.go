package tokenizer

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"maps"
	"slices"
)

// object is one of JSON.
type object map[string]any

// JSON is the vocabulary as the tokenizer.json of which Hugging Face's tokenizers make the same ids, as
// [FromVocabulary] does. Errors are those of FromVocabulary, and a text of which ids would differ.
func (v Vocabulary) JSON(path string) ([]byte, error) {
	t, err := FromVocabulary(v, path)
	if err != nil {
		return nil, err
	}
	vocabulary := map[string]int{}
	for id, token := range v.Tokens {
		if v.kind(id) != typeUnused {
			vocabulary[token] = id
		}
	}
	model := object{"type": "BPE", "vocab": vocabulary, "dropout": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil}
	merges := [][2]string{}
	for _, pair := range t.byRank() {
		merges = append(merges, [2]string{t.tokens[pair>>32], t.tokens[uint32(pair)]})
	}
	model["merges"] = merges
	file := object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": t.addedJSON(), "model": model, "post_processor": t.surroundJSON(),
	}
	if v.Model == "gpt2" {
		preTokenizations[v.Pre].describe(file, model)
	} else {
		v.describeScores(file, model)
	}
	data, err := json.Marshal(file, json.Deterministic(true), jsontext.WithIndent(" "))
	if err != nil {
		return nil, err
	}
	back, err := FromJSON(data, path, nil)
	if err != nil {
		return nil, err
	}
	if text, ok := t.encodesUnlike(back, func(string) bool { return true }); ok {
		return nil, unsupported(path, "a tokenizer.json would give other ids for %.40q", text)
	}
	return data, nil
}

// addedJSON lists the added tokens by id.
func (t *Tokenizer) addedJSON() []object {
	list := []object{}
	for _, id := range slices.Sorted(maps.Keys(t.isAdded)) {
		list = append(list, object{
			"id": id, "content": t.tokens[id], "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
			"special": t.special[id],
		})
	}
	return list
}

// surroundJSON is the post-processor that puts tokens around a text; nil: none.
func (t *Tokenizer) surroundJSON() any {
	pieces, named := []object{}, object{}
	add := func(ids []int32) {
		for _, id := range ids {
			token := t.tokens[id]
			pieces = append(pieces, object{"SpecialToken": object{"id": token, "type_id": 0}})
			named[token] = object{"id": token, "ids": []int32{id}, "tokens": []string{token}}
		}
	}
	add(t.around.before)
	pieces = append(pieces, object{"Sequence": object{"id": "A", "type_id": 0}})
	add(t.around.after)
	if len(named) == 0 {
		return nil
	}
	pair := append(slices.Clone(pieces), object{"Sequence": object{"id": "B", "type_id": 0}})
	return object{"type": "TemplateProcessing", "single": pieces, "pair": pair, "special_tokens": named}
}

// describe are the components that cut texts so.
func (p preTokenization) describe(file, model object) {
	model["unk_token"], model["fuse_unk"], model["byte_fallback"], model["ignore_merges"] = nil, false, false, p.ignoreMerges
	file["normalizer"] = nil
	if p.nfc {
		file["normalizer"] = object{"type": "NFC"}
	}
	var steps []object
	if p.digits {
		steps = append(steps, object{"type": "Digits", "individual_digits": true})
	}
	for _, text := range p.patterns {
		steps = append(steps, object{"type": "Split", "pattern": object{"Regex": text}, "behavior": "Isolated", "invert": false})
	}
	bytes := object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
	file["pre_tokenizer"] = object{"type": "Sequence", "pretokenizers": append(steps, bytes)}
	file["decoder"] = bytes
}

// describeScores are the components of SentencePiece's BPE.
func (v Vocabulary) describeScores(file, model object) {
	model["byte_fallback"], model["ignore_merges"], model["unk_token"] = true, false, nil
	if unknown := slices.Index(v.Types, typeUnknown); unknown >= 0 {
		model["unk_token"] = v.Tokens[unknown]
	}
	model["fuse_unk"] = model["unk_token"] != nil
	var steps []object
	replaced := func(pattern object, by string) {
		steps = append(steps, object{"type": "Replace", "pattern": pattern, "content": by})
	}
	if v.CollapseSpaces {
		replaced(object{"Regex": `\A +| +\z`}, "")
		replaced(object{"Regex": " {2,}"}, " ")
	}
	if v.AddSpacePrefix {
		steps = append(steps, object{"type": "Prepend", "prepend": metaspace})
	}
	replaced(object{"String": " "}, metaspace)
	file["normalizer"], file["pre_tokenizer"] = object{"type": "Sequence", "normalizers": steps}, nil
	decoders := []object{
		{"type": "Replace", "pattern": object{"String": metaspace}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
	}
	if v.AddSpacePrefix {
		decoders = append(decoders, object{"type": "Strip", "content": " ", "start": 1, "stop": 0})
	}
	file["decoder"] = object{"type": "Sequence", "decoders": decoders}
}
