package tokenizer

import (
	"encoding/json/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// restored is what a GGUF file's metadata make of a tokenizer, for an embedding with more rows than it has tokens.
func restored(t *testing.T, tok *Tokenizer, chats bool) (back *Tokenizer, v Vocabulary, notes []string) {
	v, notes, err := tok.Vocabulary(tok.Size()+3, chats, "model")
	require.NoError(t, err)
	require.Len(t, v.Tokens, tok.Size()+3)
	require.Equal(t, []int{typeUnused, typeUnused, typeUnused}, v.Types[tok.Size():])
	back, err = FromVocabulary(v, "model")
	require.NoError(t, err)
	data, err := v.JSON("model")
	require.NoError(t, err)
	asJSON, err := FromJSON(data, "model", nil)
	require.NoError(t, err)
	for _, text := range []string{"<s>Hello  wörld", "12345 don't\n\n x", "日本 <unk> 👍🏽 ", "e\u0301 <tool>y"} {
		require.Equal(t, back.Encode(text), asJSON.Encode(text), "%q", text)
		require.Equal(t, back.Decode(back.Encode(text)), asJSON.Decode(asJSON.Encode(text)), "%q", text)
	}
	require.Equal(t, back.Before(), asJSON.Before())
	require.Equal(t, back.After(), asJSON.After())
	return back, v, notes
}

// Tokenizers of bytes come back under the name that llama.cpp has for how they cut texts, with the ids that Hugging
// Face's tokenizers give.
func TestVocabularyOfBytes(t *testing.T) {
	for name, pre := range map[string]string{
		"gpt2": "gpt-2", "old_merges": "gpt-2", "llama3": "llama-bpe", "gpt4o": "gpt-4o", "deepseek3": "deepseek-v3", "tekken": "tekken",
		"tiktoken": "tekken",
	} {
		t.Run(name, func(t *testing.T) {
			file := "testdata/" + name + ".jsonl"
			back, v, notes := restored(t, besideCases(t, file), true)
			require.Equal(t, "gpt2", v.Model)
			require.Equal(t, pre, v.Pre)
			require.Empty(t, notes)
			checkCases(t, back, readCases(t, file))
		})
	}
}

// Words that are looked up before they are merged are the same tokenizer only where merging gives them.
func TestVocabularyOfWholeWords(t *testing.T) {
	tok := readTokenizer(t, "testdata/gpt2.tokenizer.json")
	tok.model.words = map[string]int32{}
	_, v, _ := restored(t, tok, true)
	require.Equal(t, "gpt-2", v.Pre)
	for pair, m := range tok.model.merges {
		if len(tok.tokens[m.id]) > 6 {
			delete(tok.model.merges, pair)
			break
		}
	}
	_, _, err := tok.Vocabulary(tok.Size(), true, "model")
	require.ErrorContains(t, err, "cuts texts into words as no pre-tokenization")
}

// What strips spaces beside it is named, and is all that differs, but for what is added in another form than its normal
// one.
func TestVocabularyOfStrippingTokens(t *testing.T) {
	back, v, notes := restored(t, readTokenizer(t, "testdata/qwen2.tokenizer.json"), true)
	require.Equal(t, "qwen2", v.Pre)
	require.Len(t, notes, 2)
	require.Contains(t, notes[0], "Spaces beside <left> <right> <word> are part")
	require.Equal(t, composes, notes[1])
	cases := slices.DeleteFunc(readCases(t, "testdata/qwen2.jsonl"), func(c referenceCase) bool {
		return slices.ContainsFunc([]string{"<left>", "<right>", "<word>", "norm<"}, func(s string) bool { return strings.Contains(c.Text, s) })
	})
	require.Greater(t, len(cases), 100)
	checkCases(t, back, cases)
}

// Tokenizers that GGUF cannot say are refused, with the reason.
func TestInexpressibleTokenizers(t *testing.T) {
	for name, reason := range map[string]string{
		"behaviors": "cuts texts into words as no pre-tokenization", "linear_pattern": "cuts texts into words as no pre-tokenization",
		"prefix_space": "cuts texts into words as no pre-tokenization", "fused": "gives other ids for",
		"llama2": "does not merge \"ai\" and \"d\", which are a token together", "rarer": "has no token <0xCD>",
	} {
		tok := readTokenizer(t, "testdata/"+name+".tokenizer.json")
		_, _, err := tok.Vocabulary(tok.Size(), true, "folder")
		require.ErrorContains(t, err, "export tokenizer folder: unsupported: the tokenizer "+reason, name)
		require.ErrorContains(t, err, "export the adapter alone")
	}
}

// ofScores is a tokenizer.json as converters make it of a SentencePiece model: a merge for every way to cut a piece in
// two, by score. merged: runs of spaces are merged, and added tokens too.
func ofScores(t *testing.T, merged bool, edit func(file, model map[string]any)) *Tokenizer {
	data, err := os.ReadFile("testdata/scores.model")
	require.NoError(t, err)
	v, err := SentencePiece(data, "")
	require.NoError(t, err)
	ids, order := map[string]int{}, make([]int, len(v.Tokens))
	var added []map[string]any
	spaces := slices.Index(v.Tokens, "▁▁") // which SentencePiece has beside its merges
	if merged {
		v.Types[spaces], v.Scores[spaces] = typeNormal, 1
	} else {
		v.Tokens[spaces] = "<two>"
	}
	for id, token := range v.Tokens {
		ids[token], order[id] = id, id
		if merged && id == spaces { // as Gemma has it
			added = append(added, map[string]any{"id": id, "content": token})
		}
		if kind := v.Types[id]; kind != typeNormal && kind != typeByte {
			added = append(added, map[string]any{"id": id, "content": token, "special": kind != typeUserDefined})
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case v.Scores[a] > v.Scores[b]:
			return -1
		case v.Scores[a] < v.Scores[b]:
			return 1
		}
		return 0
	})
	merges := [][]string{}
	for _, id := range order {
		letters := []rune(v.Tokens[id])
		for cut := 1; cut < len(letters) && v.Types[id] == typeNormal; cut++ {
			left, right := string(letters[:cut]), string(letters[cut:])
			if l, ok := ids[left]; ok && v.Types[l] == typeNormal {
				if r, ok := ids[right]; ok && v.Types[r] == typeNormal {
					merges = append(merges, []string{left, right})
				}
			}
		}
	}
	model := map[string]any{
		"type": "BPE", "vocab": ids, "merges": merges, "byte_fallback": true, "fuse_unk": true,
		"unk_token": v.Tokens[slices.Index(v.Types, typeUnknown)],
	}
	file := map[string]any{"model": model, "added_tokens": added, "decoder": map[string]any{"type": "Sequence", "decoders": []any{
		map[string]any{"type": "Replace", "pattern": map[string]any{"String": metaspace}, "content": " "},
		map[string]any{"type": "ByteFallback"}, map[string]any{"type": "Fuse"},
	}}}
	edit(file, model)
	text, err := json.Marshal(file)
	require.NoError(t, err)
	tok, err := FromJSON(text, "", nil)
	require.NoError(t, err)
	return tok
}

var toMetaspace = map[string]any{"type": "Replace", "pattern": map[string]any{"String": " "}, "content": metaspace}

// The forms that Llama 2, Gemma and Mistral have of a SentencePiece model come back with the same ids.
func TestVocabularyOfPieces(t *testing.T) {
	before, _, _ := readTokenizerOf(t, "testdata/scores.model")
	texts := func(with string) (list []string) {
		for _, c := range readCases(t, "testdata/scores.jsonl") {
			list = append(list, with+c.Text)
		}
		require.Greater(t, len(list), 80)
		return list
	}
	for name, c := range map[string]struct {
		edit   func(file, model map[string]any)
		prefix bool
		with   string // what texts begin with
		note   string
	}{
		"llama": {func(file, _ map[string]any) {
			before := map[string]any{"type": "Prepend", "prepend": metaspace}
			file["normalizer"] = map[string]any{"type": "Sequence", "normalizers": []any{before, toMetaspace}}
		}, true, "", ""},
		"gemma": {func(file, _ map[string]any) {
			file["normalizer"] = toMetaspace
			file["pre_tokenizer"] = map[string]any{"type": "Split", "pattern": map[string]any{"String": " "}, "behavior": "MergedWithPrevious"}
		}, false, "", ""},
		"mistral": {func(file, _ map[string]any) {
			file["pre_tokenizer"] = map[string]any{"type": "Metaspace", "replacement": metaspace, "prepend_scheme": "first", "split": false}
		}, false, "<s>", "A text of no conversation begins with a space for the tokenizer"},
	} {
		t.Run(name, func(t *testing.T) {
			tok := ofScores(t, name == "gemma", c.edit)
			back, v, notes := restored(t, tok, true)
			require.Equal(t, "llama", v.Model)
			require.Equal(t, c.prefix, v.AddSpacePrefix)
			if c.note == "" {
				require.Empty(t, notes)
			} else {
				require.Len(t, notes, 1)
				require.Contains(t, notes[0], c.note)
			}
			for _, text := range texts(c.with) {
				want := tok.Encode(text)
				require.Equal(t, want, back.Encode(text), "%q", text)
				require.NotEmpty(t, want)
			}
			if name == "llama" { // SentencePiece's own ids, but of several spaces, which it takes for one
				for _, text := range []string{"Hello, world!", "aid 日本 x"} {
					require.Equal(t, before.Encode(text), back.Encode(text))
				}
			}
		})
	}
	tok := ofScores(t, false, func(file, model map[string]any) { // one way to cut a piece is not merged
		file["normalizer"] = toMetaspace
		merges := model["merges"].([][]string)
		model["merges"] = merges[:len(merges)-1]
	})
	_, _, err := tok.Vocabulary(tok.Size(), true, "model")
	require.ErrorContains(t, err, "which are a token together: by scores they would be")
}

func readTokenizerOf(t *testing.T, path string) (*Tokenizer, Vocabulary, error) {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	v, err := SentencePiece(data, path)
	require.NoError(t, err)
	tok, err := FromVocabulary(v, path)
	require.NoError(t, err)
	return tok, v, err
}
