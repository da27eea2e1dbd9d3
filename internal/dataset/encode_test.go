package dataset

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/testfiles"
	"qlora-wgpu/internal/tokenizer"
	"qlora-wgpu/internal/usererr"
)

// endOfTurn is "<|im_end|>", which is also the model's EOS.
const endOfTurn = 2

var loadModel sync.Once
var modelTemplate *chat.Template
var modelTokenizer *tokenizer.Tokenizer

// beginningTokenizer begins a text with <|im_start|>.
var beginningTokenizer *tokenizer.Tokenizer

// encoder is the tokenizer and the chat template of the 135M model.
func encoder(t *testing.T, maxSeqLength int) Encoder {
	path := testfiles.Models(t, "SmolLM2-135M-Instruct.Q4_1.gguf")
	loadModel.Do(func() {
		file, err := os.Open(path)
		require.NoError(t, err)
		defer file.Close()
		info, err := file.Stat()
		require.NoError(t, err)
		model, err := gguf.Read(file, info.Size(), path)
		require.NoError(t, err)
		text := func(key string) string {
			value, ok, err := model.String(key)
			require.NoError(t, err)
			require.True(t, ok, key)
			return value
		}
		v := tokenizer.Vocabulary{Model: text("tokenizer.ggml.model"), Pre: text("tokenizer.ggml.pre")}
		v.Tokens, _, err = model.Strings("tokenizer.ggml.tokens")
		require.NoError(t, err)
		v.Merges, _, err = model.Strings("tokenizer.ggml.merges")
		require.NoError(t, err)
		types, _, err := model.Ints("tokenizer.ggml.token_type")
		require.NoError(t, err)
		for _, kind := range types {
			v.Types = append(v.Types, int(kind))
		}
		modelTokenizer, err = tokenizer.FromVocabulary(v, path)
		require.NoError(t, err)
		v.Before = "<|im_start|>"
		beginningTokenizer, err = tokenizer.FromVocabulary(v, path)
		require.NoError(t, err)
		modelTemplate = parseTemplate(t, text("tokenizer.chat_template"))
	})
	require.NotNil(t, modelTemplate)
	return Encoder{Template: modelTemplate, Tokenizer: modelTokenizer, MaxSeqLength: maxSeqLength, EOS: endOfTurn}
}

func parseTemplate(t *testing.T, text string) *chat.Template {
	return chat.New(chat.Options{
		Templates: map[string]string{"default": text}, Tokens: map[string]string{"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"},
		End: "<|im_end|>",
	})
}

func source(t *testing.T, path, content string) *Source {
	t.Helper()
	s, err := Read(strings.NewReader(content), path)
	require.NoError(t, err)
	return s
}

// learned is the text of the targets; a gap between them is "|".
func learned(e Encoder, sample Sample) string {
	var out strings.Builder
	gap := false
	for _, label := range sample.Labels {
		if label == notTarget {
			gap = out.Len() > 0
			continue
		}
		if gap {
			out.WriteString("|")
		}
		gap = false
		out.WriteString(e.Tokenizer.Decode([]int32{label}))
	}
	return out.String()
}

func text(e Encoder, sample Sample) string {
	ids := make([]int32, len(sample.IDs))
	for i, id := range sample.IDs {
		ids[i] = int32(id)
	}
	return e.Tokenizer.Decode(ids)
}

// The samples of the parity case were made by PyTorch's side from the same file.
func TestAlpacaEqualsTheParityCase(t *testing.T) {
	e := encoder(t, 4096)
	data, err := os.ReadFile(testfiles.Reference(t, "parity", "smollm2", "case.json"))
	require.NoError(t, err)
	var want struct {
		Steps [][]struct {
			Row    int      `json:"row"`
			IDs    []uint32 `json:"input_ids"`
			Labels []int32  `json:"labels"`
		} `json:"steps"`
	}
	require.NoError(t, json.Unmarshal(data, &want))
	s := read(t, testfiles.Data(t, "alpaca_en_demo.json"))
	samples, report, err := inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Equal(t, 999, report.Rows)
	require.Len(t, samples, 999)
	compared := 0
	for _, step := range want.Steps {
		for _, micro := range step {
			got := samples[micro.Row]
			require.Equal(t, micro.Row, got.Row)
			require.Equal(t, micro.IDs, got.IDs[:len(micro.IDs)])
			require.Equal(t, micro.Labels, got.Labels[:len(micro.Labels)])
			for _, label := range got.Labels[len(micro.Labels):] {
				require.EqualValues(t, notTarget, label)
			}
			compared++
		}
	}
	require.Equal(t, 40, compared)

	data, err = os.ReadFile(testfiles.Reference(t, "parity", "smollm2", "eval.json"))
	require.NoError(t, err)
	var eval struct {
		TargetTokens int `json:"target_tokens"`
	}
	require.NoError(t, json.Unmarshal(data, &eval))
	first, err := s.Slice(":32")
	require.NoError(t, err)
	_, report, err = inMemory(e.Encode(first))
	require.NoError(t, err)
	require.Equal(t, eval.TargetTokens, report.TargetTokens)
}

func TestEncodeSharedFiles(t *testing.T) {
	for _, name := range []string{"alpaca_en_demo.json", "glaive_toolcall_en_demo.json", "identity.json", "wiki_demo.txt"} {
		t.Run(name, func(t *testing.T) {
			s := read(t, testfiles.Data(t, name))
			e := encoder(t, 512)
			samples, report, err := inMemory(e.Encode(s))
			require.NoError(t, err)
			t.Logf("%+v", report)
			again, sameReport, err := inMemory(e.Encode(s))
			require.NoError(t, err)
			require.Equal(t, samples, again, "the order does not hang on the cores")
			require.Equal(t, report, sameReport)
			tokens, targetTokens := 0, 0
			for i, sample := range samples {
				require.LessOrEqual(t, len(sample.IDs), 512)
				require.Len(t, sample.Labels, len(sample.IDs))
				if i > 0 {
					require.GreaterOrEqual(t, sample.Row, samples[i-1].Row)
				}
				for k, label := range sample.Labels {
					if label != notTarget {
						require.EqualValues(t, sample.IDs[k], label)
					}
				}
				tokens += len(sample.IDs)
				targetTokens += targets(sample.Labels)
			}
			require.Equal(t, tokens, report.Tokens)
			require.Equal(t, targetTokens, report.TargetTokens)
			require.Positive(t, targetTokens)
			if s.Format == "text" {
				require.Equal(t, report.Longest-1, targetTokens, "every token but the first is learned once")
				return
			}
			dropped := 0
			for _, drop := range report.Dropped {
				dropped += drop.Rows
			}
			require.Equal(t, len(s.rows), len(samples)+dropped)
			if name == "glaive_toolcall_en_demo.json" {
				require.Len(t, report.Unseen, 1)
				require.Equal(t, 191, report.Unseen[0].Rows, "the template of this model has no tools")
				last := s.rows[0].Messages
				require.Equal(t, `{"name": "search_recipes", "arguments": {"ingredients": ["chicken", "bell peppers", "rice"]}}`, last[3].Content)
				require.Equal(t, last[1].Content+"<|im_end|>|"+last[3].Content+"<|im_end|>|"+last[5].Content+"<|im_end|>|"+last[7].Content+"<|im_end|>",
					learned(e, samples[0]))
			}
		})
	}
}

// Every row is told, whatever becomes of it.
func TestEncodeTellsEveryRow(t *testing.T) {
	rows := []Row{{Text: "a text"}, {Text: " "}, {Text: strings.Repeat("a long text ", 40)}}
	e := encoder(t, 16)
	var told atomic.Int64
	e.Encoded = func() { told.Add(1) }
	_, report, err := e.Encode(SourceOf("rows.jsonl", slices.Repeat(rows, 100)))
	require.NoError(t, err)
	require.Equal(t, 300, report.Rows)
	require.Equal(t, int64(300), told.Load())
}

func TestEncodeRefusesDataWithoutTargets(t *testing.T) {
	e := encoder(t, 1024)
	for _, c := range []struct {
		content string
		length  int
		want    string
	}{
		{`{"instruction":"a","output":""}` + "\n" + `{"instruction":"a","output":" \n"}` + "\n" + `{"instruction":"a","output":null}`, 1024,
			"encode data set x.jsonl: no supervised token in 3 rows: 3 with no answer (the first at line 1) (every row needs an answer"},
		{`{"messages":[]}`, 1024, "no supervised token in 1 rows: 1 with no answer"},
		{`{"text":""}` + "\n" + `{"text":" "}`, 1024, "no supervised token in 2 rows: 2 with an empty text (the first at line 1)"},
		{`{"instruction":"a","output":""}` + "\n" + `{"instruction":"a","output":"b"}`, 16,
			"no supervised token in 2 rows: 1 with no answer (the first at line 1), 1 with the answer beyond max_seq_length (the first at line 2) " +
				"(raise max_seq_length above 16: the longest row has "},
		{`{"instruction":"a","output":"b"}`, 1, "encode data set x.jsonl: max_seq_length 1 leaves nothing to predict (it has to be 2 or more)"},
	} {
		e.MaxSeqLength = c.length
		samples, _, err := e.Encode(source(t, "x.jsonl", c.content))
		require.ErrorContains(t, err, c.want)
		require.True(t, usererr.Is(err, usererr.Invalid))
		require.Nil(t, samples)
	}
}

func TestEncodeText(t *testing.T) {
	e := encoder(t, 1024)
	e.Template = nil
	s := source(t, "x.jsonl", `{"text":"one two three four five"}
{"text":"already ended<|im_end|>"}
{"text":"<|im_start|>begun"}
{"text":""}`)
	samples, report, err := inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Equal(t, "one two three four five<|im_end|>", learned(e, samples[0]))
	require.Equal(t, "already ended<|im_end|>", learned(e, samples[1]))
	require.Equal(t, []Drop{{Reason: "an empty text", Rows: 1, First: "line 4"}}, report.Dropped)
	require.Equal(t, report.Tokens-3, report.TargetTokens, "the first token of a sequence is no target")

	e.Tokenizer = beginningTokenizer
	samples, _, err = inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Equal(t, "<|im_start|>one two three four five<|im_end|>", text(e, samples[0]))
	require.Equal(t, "<|im_start|>begun<|im_end|>", text(e, samples[2]))

	e.Tokenizer, e.EOS = modelTokenizer, NoToken
	samples, _, err = inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Equal(t, "one two three four five", text(e, samples[0]))

	e.EOS = endOfTurn
	s.rows = s.rows[:1] // six tokens
	for length, pieces := range map[int][]string{
		2: {"one two", " two three", " three four", " four five", " five<|im_end|>"},
		3: {"one two three", " three four five", " five<|im_end|>"},
		5: {"one two three four five", " five<|im_end|>"},
		6: {"one two three four five<|im_end|>"},
	} {
		e.MaxSeqLength = length
		samples, report, err := inMemory(e.Encode(s))
		require.NoError(t, err)
		var got []string
		for i, sample := range samples {
			got = append(got, text(e, sample))
			require.Equal(t, i > 0, sample.Labels[0] == notTarget)
		}
		require.Equal(t, pieces, got)
		require.Equal(t, 5, report.TargetTokens)
		require.Equal(t, 6, report.Longest)
		if len(pieces) > 1 {
			require.Equal(t, 1, report.SplitTexts)
		}
	}
}

func TestEncodeNamesTheRowThatTheTemplateRefuses(t *testing.T) {
	e := encoder(t, 64)
	e.Template = parseTemplate(t,
		`{% for m in messages %}{% if m.role == "tool" %}{{ raise_exception("no tools here") }}{% endif %}{{ m.content }}{% endfor %}`)
	_, _, err := e.Encode(source(t, "x.jsonl", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}
{"messages":[{"role":"tool","content":"a"},{"role":"assistant","content":"b"}]}`))
	require.ErrorContains(t, err, "encode data set x.jsonl: line 2: ")
	require.ErrorContains(t, err, "no tools here")
}

// Rows are encoded in chunks on all cores and come in the file's order, of two mistakes the first.
func TestRowsComeInTheirOrder(t *testing.T) {
	e := encoder(t, 64)
	rows := make([]Row, 5*chunkRows+1)
	for i := range rows {
		rows[i] = Row{Text: strings.Repeat("a ", 1+i%40), Where: fmt.Sprintf("line %d", i+1)}
	}
	rows[7] = Row{Text: strings.Repeat("long ", chunkBytes/4), Where: "line 8"} // a chunk of its own
	samples, report, err := inMemory(e.Encode(SourceOf("x.jsonl", rows)))
	require.NoError(t, err)
	require.Equal(t, len(rows), report.Rows)
	last := -1
	for _, s := range samples {
		require.True(t, s.Row == last || s.Row == last+1, "row %d behind row %d", s.Row, last)
		if last = s.Row; last != 7 {
			require.Equal(t, modelTokenizer.Encode(rows[last].Text)[0], int32(s.IDs[0]))
			require.Len(t, s.IDs, len(modelTokenizer.Encode(rows[last].Text))+1)
		}
	}
	require.Equal(t, len(rows)-1, last)
	for _, i := range []int{3 * chunkRows, 2*chunkRows + 1} {
		rows[i].Messages = make([]chat.Message, 5000)
		for k := range rows[i].Messages {
			rows[i].Messages[k] = assistant("a")
		}
	}
	_, _, err = e.Encode(SourceOf("x.jsonl", rows))
	require.ErrorContains(t, err, fmt.Sprintf("encode data set x.jsonl: line %d: ", 2*chunkRows+2))
}

// inMemory are samples that nothing has put away.
func inMemory(samples Samples, report Report, err error) (InMemory, Report, error) {
	held, _ := samples.(InMemory)
	return held, report, err
}
