package tokenizer

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"qlora-wgpu/internal/usererr"
)

// sentencePiece is a tokenizer.model of kind 1 (Unigram), 2 (BPE), … with numbers in its normalizer_spec.
func sentencePiece(kind uint64, normalizer map[protowire.Number]uint64, pieces ...string) []byte {
	var b []byte
	for i, piece := range pieces {
		p := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), piece)
		p = protowire.AppendFixed32(protowire.AppendTag(p, 2, protowire.Fixed32Type), uint32(i)<<20)
		b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), p)
	}
	trainer := protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), kind)
	b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), trainer)
	var n []byte
	for number, value := range normalizer {
		if number == 2 {
			n = protowire.AppendString(protowire.AppendTag(n, 2, protowire.BytesType), "map")
			continue
		}
		n = protowire.AppendVarint(protowire.AppendTag(n, number, protowire.VarintType), value)
	}
	return protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), n)
}

func TestSentencePieceSettings(t *testing.T) {
	encode := func(normalizer map[protowire.Number]uint64, text string) (tokens []string) {
		v, err := SentencePiece(sentencePiece(2, normalizer, "\u2581", "a", "\u2581a", "\u2581\u2581"), "m")
		require.NoError(t, err)
		tok, err := FromVocabulary(v, "m")
		require.NoError(t, err)
		for _, id := range tok.Encode(text) {
			token, _ := tok.Token(id)
			tokens = append(tokens, token)
		}
		return tokens
	}
	// SentencePiece's defaults: several spaces are one, and one is in front.
	require.Equal(t, []string{"\u2581a", "\u2581a"}, encode(nil, "  a   a "))
	require.Equal(t, []string{"a", "\u2581a"}, encode(map[protowire.Number]uint64{3: 0}, "  a   a "))
	kept := []string{"\u2581\u2581", "\u2581a", "\u2581\u2581", "\u2581a", "\u2581"}
	require.Equal(t, kept, encode(map[protowire.Number]uint64{4: 0}, "  a   a "))
}

func TestRefusedSentencePieceModels(t *testing.T) {
	for message, data := range map[string][]byte{
		"of the kind Unigram":          sentencePiece(1, nil, "a"),
		"of the kind Word":             sentencePiece(3, nil, "a"),
		"precompiled_charsmap":         sentencePiece(2, map[protowire.Number]uint64{2: 1}, "a"),
		"escape_whitespaces":           sentencePiece(2, map[protowire.Number]uint64{5: 0}, "a"),
		"has no pieces":                sentencePiece(2, nil),
		"it is no SentencePiece model": []byte("version https://git-lfs.github.com/spec/v1"),
	} {
		_, err := SentencePiece(data, "folder/tokenizer.model")
		require.ErrorContains(t, err, message)
		require.ErrorContains(t, err, "folder/tokenizer.model")
	}
}

// A whole piece is a token before anything is merged, even where no merges lead to it.
func TestTekkenTakesWholePieces(t *testing.T) {
	tok, err := FromTekken([]byte(`{"config":{"pattern":"[a-c]+","default_vocab_size":5,"default_num_special_tokens":1},"vocab":[`+
		`{"token_bytes":"YQ=="},{"token_bytes":"Yg=="},{"token_bytes":"Yw=="},{"token_bytes":"YWJj"}]}`), "m", "<unk>", "", nil)
	require.NoError(t, err)
	require.Equal(t, []int32{4}, tok.Encode("abc"))
	require.Equal(t, []int32{1, 2, 3, 1}, tok.Encode("abca"))
	require.Equal(t, []int32{0}, tok.Before())
}

// Files from before prepend_scheme say that no space goes in front by add_prefix_space.
func TestOldMetaspaceWithoutPrefix(t *testing.T) {
	data, err := os.ReadFile("testdata/no_prefix.tokenizer.json")
	require.NoError(t, err)
	old := strings.ReplaceAll(string(data), `"prepend_scheme":"never"`, `"add_prefix_space":false`)
	require.NotEqual(t, string(data), old)
	tok, err := FromJSON([]byte(old), "old", nil)
	require.NoError(t, err)
	checkCases(t, tok, readCases(t, "testdata/no_prefix.jsonl"))
}

func TestRefusedTekkenFiles(t *testing.T) {
	data, err := os.ReadFile("testdata/tiktoken.tekken.json")
	require.NoError(t, err)
	for _, c := range []struct {
		old, new string
		kind     usererr.Kind
		message  string
	}{
		{`"default_num_special_tokens": 22`, `"default_num_special_tokens": -1`, usererr.Format, "of which -1 are special"},
		{`"default_vocab_size": `, `"default_vocab_size": 9`, usererr.Format, "in the list"},
		{`"vocab": [`, `"vocab": [{"token_bytes": "AQ=="}, `, usererr.Format, "have the same token"},
		{`"vocab": [`, `"vocab": [{"token_bytes": "?"}, `, usererr.Format, "vocab/0"},
		{`"config"`, `"special_tokens": [{"rank": 22, "token_str": "<x>"}], "config"`, usererr.Format, "the rank 22"},
		{`"config"`, `"special_tokens": [{"rank": 0, "token_str": ""}], "config"`, usererr.Format, "the token with id 0 is empty"},
		{`"pattern": "`, `"pattern": "(?<=a)b|`, usererr.Unsupported, "look-behind"},
	} {
		_, err := FromTekken([]byte(strings.Replace(string(data), c.old, c.new, 1)), "folder/tekken.json", "", "", nil)
		require.ErrorContains(t, err, c.message)
		require.ErrorContains(t, err, "folder/tekken.json")
		require.True(t, usererr.Is(err, c.kind), "%v", err)
	}
}
