package tokenizer

import (
	"bufio"
	"encoding/json/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/testfiles"
)

type referenceCase struct {
	Text    string  `json:"text"`
	IDs     []int32 `json:"ids"`
	Decoded string  `json:"decoded"`
}

func readCases(t testing.TB, path string) (cases []referenceCase) {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var c referenceCase
		require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
		cases = append(cases, c)
	}
	require.NoError(t, lines.Err())
	require.NotEmpty(t, cases)
	return cases
}

func readTokenizer(t testing.TB, path string) *Tokenizer {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	tok, err := FromJSON(data, path, nil)
	require.NoError(t, err)
	return tok
}

// checkCases demands equal ids and equal text on every line, and the same text from the incremental decoder.
func checkCases(t *testing.T, tok *Tokenizer, cases []referenceCase) {
	for i, c := range cases {
		ids := tok.Encode(c.Text)
		require.Equal(t, append([]int32{}, c.IDs...), append([]int32{}, ids...), "line %d: %q", i+1, c.Text)
		require.Equal(t, c.Decoded, tok.Decode(ids), "line %d: %q", i+1, c.Text)
		var streamed strings.Builder
		s := tok.Stream()
		for _, id := range ids {
			streamed.WriteString(s.Push(id))
		}
		streamed.WriteString(s.Flush())
		require.Equal(t, c.Decoded, streamed.String(), "line %d: %q", i+1, c.Text)
	}
}

// besideCases is the tokenizer whose ids are in NAME.jsonl: NAME.tokenizer.json, NAME.tekken.json, NAME.model, or nil.
func besideCases(t testing.TB, file string) *Tokenizer {
	name := strings.TrimSuffix(file, ".jsonl")
	if exists(name + ".tokenizer.json") {
		return readTokenizer(t, name+".tokenizer.json")
	}
	data, err := os.ReadFile(name + ".tekken.json")
	if err == nil {
		tok, err := FromTekken(data, name, "<s>", "", nil)
		require.NoError(t, err)
		return tok
	}
	data, err = os.ReadFile(name + ".model")
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	v, err := SentencePiece(data, name)
	require.NoError(t, err)
	tok, err := FromVocabulary(v, name)
	require.NoError(t, err)
	return tok
}

// Every NAME.jsonl made by Hugging Face's tokenizers or SentencePiece; where there is no tokenizer beside it, with the
// metadata of the GGUF model.
func TestHuggingFaceIDs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testfiles.Reference(t, "tokenizer"), "*.jsonl"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".jsonl")
		t.Run(name, func(t *testing.T) {
			tok := besideCases(t, file)
			if tok == nil {
				tok = modelTokenizer(t)
			}
			checkCases(t, tok, readCases(t, file))
		})
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// The same for the small tokenizers of tools/make_tokenizer_fixtures.py, which between them use every supported
// component.
func TestSmallTokenizers(t *testing.T) {
	files, err := filepath.Glob("testdata/*.jsonl")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			checkCases(t, besideCases(t, file), readCases(t, file))
		})
	}
}
