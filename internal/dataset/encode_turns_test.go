package dataset

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
)

func TestEncodeTurns(t *testing.T) {
	s := read(t, "testdata/messages.jsonl")
	e := encoder(t, 1024)
	samples, report, err := inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Equal(t, `{"name": "weather", "arguments": {"city": "Rome"}}<|im_end|>|Clear.<|im_end|>`, learned(e, samples[0]))
	require.Equal(t, "Yes.<|im_end|>", learned(e, samples[1]))
	require.Equal(t, []Drop{{Reason: "no answer", Rows: 1, First: "line 4"}}, report.Dropped)
	require.Equal(t, 3, report.Rows)
	require.Equal(t, 2, report.Samples)

	e.TrainOn = chat.TrainOnLast
	samples, _, err = inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Equal(t, "Clear.<|im_end|>", learned(e, samples[0]))

	e.TrainOn = chat.TrainOnAll
	samples, report, err = inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Len(t, samples, 3)
	require.Empty(t, report.Dropped)
	require.Equal(t, text(e, samples[2]), learned(e, samples[2]))
	require.Contains(t, learned(e, samples[2]), "Nobody answers this.")
}

func TestEncodeTruncates(t *testing.T) {
	s := source(t, "x.jsonl",
		`{"messages":[{"role":"user","content":"Count."},{"role":"assistant","content":"one two three four five six seven eight"}]}
{"messages":[{"role":"user","content":"A question with more words than there is room for in forty tokens: a b c d e f g h i j k l m n o p q r s t u v w x y z"},{"role":"assistant","content":"Yes."}]}
{"messages":[{"role":"user","content":"Hi."},{"role":"assistant","content":"Ho."}]}`)
	e := encoder(t, 1024)
	whole, report, err := inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Equal(t, Report{Rows: 3, Samples: 3, Tokens: report.Tokens, TargetTokens: 9 + 3 + 3, Longest: len(whole[1].IDs)}, report)

	e.MaxSeqLength = len(whole[0].IDs) - 4 // the line feed, the end of turn and two numbers
	require.Greater(t, len(whole[1].IDs)-4, e.MaxSeqLength)
	samples, report, err := inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Equal(t, "one two three four five six", learned(e, samples[0]))
	require.Equal(t, "Ho.<|im_end|>", learned(e, samples[1]))
	require.Equal(t, 2, samples[1].Row)
	require.Equal(t, Report{
		Rows: 3, Samples: 2, Tokens: len(samples[0].IDs) + len(samples[1].IDs),
		TargetTokens: 6 + 3, Longest: len(whole[1].IDs), Truncated: 1, AnswersCut: 1,
		Dropped: []Drop{{Reason: "the answer beyond max_seq_length", Rows: 1, First: "line 2"}},
	}, report)

	e.MaxSeqLength = len(whole[0].IDs) - 1 // the line feed alone
	_, report, err = inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Equal(t, 1, report.Truncated)
	require.Equal(t, 0, report.AnswersCut)
}

func TestEncodeShowsTools(t *testing.T) {
	e := encoder(t, 1024)
	s := read(t, "testdata/sharegpt.json")
	_, report, err := inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Equal(t, []Unseen{{What: "tools", Rows: 1, First: "row 1 (line 6)"}}, report.Unseen)

	e.Template = parseTemplate(t,
		`{% if tools %}<|im_start|>tools {{ tools[0].name }}<|im_end|>{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`)
	samples, report, err := inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Empty(t, report.Unseen)
	require.NotContains(t, text(e, samples[0]), "tools")
	require.True(t, strings.HasPrefix(text(e, samples[1]), "<|im_start|>tools count<|im_end|><|im_start|>system\nYou count."),
		text(e, samples[1]))
	require.Equal(t, "Two.<|im_end|>", learned(e, samples[1]))
}

func TestEncodeLeavesOutUntrainedTurns(t *testing.T) {
	e := encoder(t, 1024)
	s := source(t, "x.jsonl",
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":0},{"role":"user","content":"c"},{"role":"assistant","content":"d"}]}
{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","train":false}]}`)
	samples, report, err := inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Len(t, samples, 1)
	require.Equal(t, "d<|im_end|>", learned(e, samples[0]))
	require.Equal(t, []Drop{{Reason: "no answer", Rows: 1, First: "line 2"}}, report.Dropped)
}

// What is not learned of rows is said with their number and the place of the first.
func TestWarnings(t *testing.T) {
	s := source(t, "x.jsonl", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}
{"messages":[{"role":"user","content":[{"type":"image"}],"name":"Bo"},{"role":"assistant","content":""},{"role":"assistant","content":"b"}]}
{"messages":[{"role":"user","content":"a","name":"Al"},{"role":"assistant","content":"b","reasoning":"hm"}]}
{"messages":[{"role":"user","content":"a"}]}`)
	e := encoder(t, 1024)
	_, report, err := inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Equal(t, []string{
		"1 rows left out (no answer), the first at line 4",
		"1 rows have an assistant turn of which the chat template shows nothing: it is not learned, the first at line 2",
		"2 rows have names that the chat template does not show to the model, the first at line 2",
		`1 rows have parts of type "image" that the chat template does not show to the model, the first at line 2`,
		"1 rows have reasoning that the chat template does not show to the model, the first at line 3",
	}, report.Warnings(1024))

	s = source(t, "x.jsonl", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","tool_calls":[{"function":{"name":"f"}}]}]}`)
	_, _, err = inMemory(e.Encode(s))
	require.ErrorContains(t, err, "1 with no target left by the chat template (the first at line 1), "+
		"1 with tool calls that the chat template does not show (the first at line 1)")
}

// Other tools' files say of every turn whether it is learned.
func TestTurnsThatAreNotTheAssistantsAreNotLearned(t *testing.T) {
	s := source(t, "x.jsonl", `{"messages":[{"role":"system","content":"s","train":false},`+
		`{"role":"user","content":"a","loss":false,"weight":0},`+
		`{"role":"assistant","content":"b","train":true}]}`)
	_, report, err := encoder(t, 64).Encode(s)
	require.NoError(t, err)
	require.Empty(t, report.Unseen)

	s = source(t, "x.jsonl", `{"messages":[{"role":"user","content":"a","train":true},{"role":"assistant","content":"b"}]}`)
	_, report, err = encoder(t, 64).Encode(s)
	require.NoError(t, err)
	require.Equal(t, []Unseen{{What: `fields "train"`, Rows: 1, First: "line 1"}}, report.Unseen)
}

// Fields whose names are different ones in each row, or many in one, are not named without end.
func TestManyFieldsThatDoNotShow(t *testing.T) {
	var rows strings.Builder
	for i := range 50 {
		fmt.Fprintf(&rows, `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","f%d":"x","g%d":true}]}`+"\n", i, i)
	}
	_, report, err := encoder(t, 64).Encode(source(t, "x.jsonl", rows.String()))
	require.NoError(t, err)
	require.Len(t, report.Unseen, 33)
	require.Equal(t, Unseen{What: "something else", Rows: 34, First: "line 17"}, report.Unseen[32])

	fields := ""
	for i := range 20_000 {
		fields += fmt.Sprintf(`,"f%05d":true`, i)
	}
	s := source(t, "x.jsonl", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"`+fields+`}]}`)
	_, report, err = encoder(t, 64).Encode(s)
	require.NoError(t, err)
	require.Len(t, report.Unseen, 9)
	require.Equal(t, Unseen{What: "further fields", Rows: 1, First: "line 1"}, report.Unseen[8])
}
