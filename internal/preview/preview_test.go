//go:build !js

package preview

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/canceltest"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/pretrained"
)

func TestPreviewMarksTheAnswers(t *testing.T) {
	source, err := pretrained.Open(demotest.Model(t, 1, nil))
	require.NoError(t, err)
	defer source.Close()
	data, err := dataset.Read(bytes.NewReader([]byte(`{"messages":[{"role":"user","content":"Where is `+
		`Ana?"},{"role":"assistant","content":"Ana is in the café."}]}`)),
		"a.jsonl")
	require.NoError(t, err)
	c := small("a.jsonl")
	p, err := Of(t.Context(), c, Inputs{Model: source, Data: data})
	require.NoError(t, err)
	require.Equal(t, 4, p.Steps)
	require.Equal(t, 1, p.Report.Samples)
	require.Len(t, p.Batch, 1)
	var learned, whole string
	roles := map[string]string{}
	for _, token := range p.Batch[0] {
		whole += token.Text
		roles[token.Role] += token.Text
		require.Positive(t, token.ID)
		if token.Target {
			learned += token.Text
		}
	}
	require.Contains(t, whole, "Where is Ana?")
	require.Contains(t, learned, "Ana is in the café.")
	require.NotContains(t, learned, "Where")
	marks := strings.NewReplacer("Where is Ana?", "", "Ana is in the café.", "").Replace(whole)
	require.Equal(t, map[string]string{"user": "Where is Ana?", "assistant": "Ana is in the café.", "": marks}, roles)

	counted := canceltest.At(t, 0)
	_, err = Of(counted, c, Inputs{Model: source, Data: data})
	require.NoError(t, err)
	require.Greater(t, counted.Looks(), int64(2), "between the rows, and before memory is planned")
	for look := int64(1); look <= counted.Looks(); look++ {
		_, err = Of(canceltest.At(t, look), c, Inputs{Model: source, Data: data})
		require.ErrorIs(t, err, context.Canceled)
	}

	rows, err := data.Some(0)
	require.NoError(t, err)
	row := rows[0]
	row.Messages = row.Messages[:1]
	_, err = Of(t.Context(), c, Inputs{Model: source, Data: dataset.SourceOf(data.Path, []dataset.Row{row})})
	require.ErrorContains(t, err, "no supervised token in 1 rows")
}

// A sample that is the beginning of a conversation shows the roles of that alone.
func TestPreviewOfARewrittenConversation(t *testing.T) {
	source, err := pretrained.Open(demotest.Model(t, 1, nil))
	require.NoError(t, err)
	defer source.Close()
	data, err := dataset.Read(strings.NewReader(`{"messages":[{"role":"user","content":"Where is Ana?"},`+
		`{"role":"assistant","content":"At home.","thinking":"It is late."},{"role":"user","content":"And Ben?"},`+
		`{"role":"assistant","content":"At school.","thinking":"It is early."}]}`), "a.jsonl")
	require.NoError(t, err)
	c := small("a.jsonl")
	c.Shuffle = false
	p, err := Of(t.Context(), c, Inputs{Model: source, Data: data, ChatTemplate: "{% for m in messages %}<|im_start|>{{ m.role }}\n" +
		"{% if loop.last and m.thinking %}({{ m.thinking }})\n{% endif %}{{ m.content }}<|end|>\n{% endfor %}" +
		"{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"})
	require.NoError(t, err)
	require.Equal(t, &dataset.Rewritten{Rows: 1, Samples: 2, First: "line 1"}, p.Report.Rewritten)
	require.Contains(t, strings.Join(p.Warnings, "\n"), "1 conversations became 2 samples, one for each answer")
	require.Len(t, p.Batch, 2)
	for i, want := range []string{"(It is late.)\nAt home.<|end|>", "(It is early.)\nAt school.<|end|>"} {
		learned, roles := "", map[string]string{}
		for _, token := range p.Batch[i] {
			roles[token.Role] += token.Text
			if token.Target {
				learned += token.Text
			}
		}
		require.Equal(t, want, learned)
		require.Equal(t, []string{"Where is Ana?", "Where is Ana?And Ben?"}[i], roles["user"])
		require.Equal(t, []string{"At home.", "At home.At school."}[i], roles["assistant"])
	}
}

// Of several sequences in a bin each has its own row's roles, also where it is cut off; a text has none.
func TestPreviewOfAPackedBatch(t *testing.T) {
	source, err := pretrained.Open(demotest.Model(t, 1, nil))
	require.NoError(t, err)
	defer source.Close()
	c := small("a.jsonl")
	c.Packing, c.MaxSeqLength, c.Shuffle = true, 32, true
	of := func(rows string) *Preview {
		data, err := dataset.Read(strings.NewReader(rows), "a.jsonl")
		require.NoError(t, err)
		p, err := Of(t.Context(), c, Inputs{Model: source, Data: data})
		require.NoError(t, err)
		return p
	}
	row := func(question, answer string) string {
		return `{"messages":[{"role":"user","content":"` + question + `"},{"role":"assistant","content":"` + answer + `"}]}` + "\n"
	}
	answers := map[string]string{"Who?": "Ana.", "Where?": "On a farm.", "When?": strings.Repeat("At noon. ", 20)}
	rows := ""
	for question, answer := range answers {
		rows += row(question, answer)
	}
	p := of(rows)
	require.Len(t, p.Batch, 3)
	for _, sequence := range p.Batch {
		roles := map[string]string{}
		for _, token := range sequence {
			roles[token.Role] += token.Text
		}
		answer := answers[roles["user"]]
		require.NotEmpty(t, roles["assistant"])
		require.True(t, strings.HasPrefix(answer, roles["assistant"]), "%q", roles)
		require.False(t, sequence[0].Target, "nothing is before it")
	}
	for _, token := range of(`{"text":"Ana is on a farm."}` + "\n").Batch[0] {
		require.Empty(t, token.Role)
	}
}

func TestInspect(t *testing.T) {
	source, err := pretrained.Open(demotest.Model(t, 1, nil))
	require.NoError(t, err)
	defer source.Close()
	const name = "model.layers.0.self_attn.q_proj.weight"
	i, err := Inspect(source, name, 64, 3)
	require.NoError(t, err)
	total := 0
	for _, count := range i.Counts {
		total += count
	}
	require.Equal(t, i.Rows*i.Cols, total)
	require.Equal(t, total/64, i.Blocks)
	row := make([]float32, i.Cols)
	require.NoError(t, source.ReadRows(name, 3*64/i.Cols, 1, row))
	require.Equal(t, row[3*64%i.Cols:][:64], i.Values)
	require.InDelta(t, 4.127, i.Bits, 5e-4)
	require.InDelta(t, 0.09, i.Error, 0.04)
	require.InEpsilon(t, i.Absmax, i.StoredAbsmax, 0.05)
	for k, code := range i.Codes {
		require.InDelta(t, i.Values[k]/i.Absmax, i.Codebook[code], 0.16)
	}
	for _, block := range []int{-1, i.Blocks} {
		_, err = Inspect(source, name, 64, block)
		require.ErrorContains(t, err, "has no block")
	}
	_, err = Inspect(source, "nonsense", 64, 0)
	require.ErrorContains(t, err, `no tensor "nonsense"`)
}

// A weight that the files hold in 4 bits is shown as it is there, in their blocks.
func TestInspectIn4Bits(t *testing.T) {
	const name = "model.layers.0.self_attn.q_proj.weight"
	show := func(block int, double bool) *Inspection {
		folder := demotest.Model(t, 1, nil)
		if block > 0 {
			demotest.Quantize(t, folder, block, double)
		}
		source, err := pretrained.Open(folder)
		require.NoError(t, err)
		defer source.Close()
		i, err := Inspect(source, name, 64, 3)
		require.NoError(t, err)
		return i
	}
	want, got := show(0, false), show(64, true)
	require.Less(t, got.Error, 1e-9, "what is shown is what is kept")
	require.Equal(t, want.StoredAbsmax, got.Absmax)
	got.Values, got.Error, got.Absmax = want.Values, want.Error, want.Absmax
	require.Equal(t, want, got)
	single := show(128, false)
	require.Len(t, single.Codes, 128)
	require.Equal(t, single.Absmax, single.StoredAbsmax)
	require.InDelta(t, 4.25, single.Bits, 1e-9)
	require.Zero(t, single.Nested)
}
