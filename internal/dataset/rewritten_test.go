package dataset

import (
	"encoding/json/jsontext"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stripping leaves out what was thought before the last question.
const stripping = `{% for m in messages %}<|im_start|>{{ m.role }}
{% if m.role == 'assistant' and loop.last and not quiet %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`

func TestRewrittenConversationsAreCounted(t *testing.T) {
	e := encoder(t, 1024)
	e.Template = parseTemplate(t, stripping)
	row := func(question string) string {
		return `{"messages":[{"role":"user","content":"One?"},{"role":"assistant","content":"Two.","reasoning_content":"hm"},` +
			`{"role":"user","content":"` + question + `"},{"role":"assistant","content":"Four.","reasoning_content":"so"}]}` + "\n"
	}
	single := `{"messages":[{"role":"user","content":"One?"},{"role":"assistant","content":"Two.","reasoning_content":"hm"}]}` + "\n"
	s := source(t, "x.jsonl", single+row("Three?")+row(strings.Repeat("And then? ", 30)))
	samples, report, err := inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Len(t, samples, 5)
	for i, want := range []string{"<think>hm</think>Two.<|im_end|>", "<think>hm</think>Two.<|im_end|>", "<think>so</think>Four.<|im_end|>"} {
		require.Equal(t, want, learned(e, samples[i]))
	}
	for i, turns := range []int{2, 2, 4, 2, 4} {
		require.Equal(t, turns, samples[i].Turns)
		require.Equal(t, []int{0, 1, 1, 2, 2}[i], samples[i].Row)
	}
	require.Equal(t, &Rewritten{Rows: 2, Samples: 4, First: "line 2"}, report.Rewritten)
	require.Zero(t, report.SplitTexts)
	require.Empty(t, report.Unseen, "each thought is learned in its own sample")
	require.Equal(t, 5, report.Samples)
	warnings := report.Warnings(1024)
	require.Len(t, warnings, 1)
	require.Contains(t, warnings[0], "2 conversations became 4 samples, one for each answer")
	require.Contains(t, warnings[0], "the first at line 2")

	e.MaxSeqLength = 60
	samples, report, err = inMemory(e.Encode(s))
	require.NoError(t, err)
	require.Len(t, samples, 4)
	require.Equal(t, &Rewritten{Rows: 2, Samples: 3, Lost: 1, First: "line 2"}, report.Rewritten)
	require.Empty(t, report.Dropped)
	require.Contains(t, report.Warnings(60)[1], "1 answers of them begin beyond 60 tokens and were left out")

	b := next(t, NewStream(samples, StreamOptions{BatchSize: 4, MaxSeqLength: 60}))
	require.Equal(t, []int{2, 2, 4, 2}, b.Turns)
}

func TestTemplateArgsOfRows(t *testing.T) {
	e := encoder(t, 1024)
	e.Template = parseTemplate(t, stripping)
	turns := `"messages":[{"role":"user","content":"One?"},{"role":"assistant","content":"Two.","reasoning_content":"hm"}]`
	s := source(t, "x.jsonl", strings.Join([]string{
		`{` + turns + `,"chat_template_kwargs":{"quiet":true}}`,
		`{` + turns + `,"chat_template_kwargs":{"quiet":false,"other":null}}`,
		`{` + turns + `,"chat_template_kwargs":null}`,
		`{` + turns + `,"chat_template_kwargs":"{\"quiet\": true}"}`,
		`{` + turns + `,"chat_template_kwargs":{}}`,
	}, "\n"))
	require.Empty(t, s.Notes)
	require.Equal(t, jsontext.Value(`{"quiet":false}`), s.rows[1].TemplateArgs, "a table has the columns of all its rows")
	require.Nil(t, s.rows[2].TemplateArgs)
	require.Nil(t, s.rows[4].TemplateArgs)
	samples, report, err := inMemory(e.Encode(s))
	require.NoError(t, err)
	loud, quiet := "<think>hm</think>Two.<|im_end|>", "Two.<|im_end|>"
	for i, want := range []string{quiet, loud, loud, quiet, loud} {
		require.Equal(t, want, learned(e, samples[i]), i)
	}
	require.Equal(t, []Unseen{{What: "reasoning", Rows: 2, First: "line 1"}}, report.Unseen)
	_, report, err = e.Encode(source(t, "x.jsonl", `{`+turns+`,"chat_template_kwargs":{"quite":true}}`))
	require.NoError(t, err)
	require.Equal(t, []Unseen{{What: `template arguments "quite"`, Rows: 1, First: "line 1"}}, report.Unseen)
	pair := source(t, "x.jsonl", `{"prompt":"a","completion":"b","chat_template_kwargs":{"quiet":true}}`)
	require.NotNil(t, pair.rows[0].TemplateArgs)
	_, simple := pair.Pairs()
	require.False(t, simple)
	require.NotEmpty(t, source(t, "x.jsonl", `{"text":"a","chat_template_kwargs":{"quiet":true}}`).Notes, "a text has no template")

	for args, message := range map[string]string{
		`[1]`: "is a list, not an object", `"{"`: "is a string that is not valid JSON", `5`: "is a number, not an object",
		`{"messages":[]}`: "messages cannot be given", `{"tools":[]}`: "tools cannot be given",
		`{"add_generation_prompt":true}`: "add_generation_prompt cannot be given", `{"a":99999999999999999999}`: "more than 64 bits",
	} {
		_, err := Read(strings.NewReader(`{`+turns+`,"chat_template_kwargs":`+args+`}`), "x.jsonl")
		require.ErrorContains(t, err, "x.jsonl: line 1", args)
		require.ErrorContains(t, err, message, args)
	}
}
