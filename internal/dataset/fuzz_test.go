package dataset

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/tokenizer"
	"qlora-wgpu/internal/usererr"
)

// FuzzEncode attacks a data file all the way to its samples.
func FuzzEncode(f *testing.F) {
	content, err := fs.ReadFile(demo.ModelFiles(), "tokenizer.json")
	require.NoError(f, err)
	tok, err := tokenizer.FromJSON(content, "tokenizer.json", nil)
	require.NoError(f, err)
	tools, err := os.ReadFile("../chat/testdata/templates/tools.jinja")
	require.NoError(f, err)
	const long = 31 << 3 // how, with sequences of 126 tokens
	var templates []*chat.Template
	for _, source := range []string{chat.ChatML, string(tools)} {
		templates = append(templates, chat.New(chat.Options{
			Templates: map[string]string{"default": source}, Tokens: map[string]string{"end_of_turn": "<|im_end|>"}, End: "<|end|>",
		}))
	}

	for i, name := range []string{"alpaca.csv", "messages.jsonl", "sharegpt.json", "mlx/train.jsonl", "mlx/valid.jsonl"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(f, err)
		f.Add(data, strings.TrimPrefix(filepath.Ext(name), "."), long|uint8(i))
	}
	for i, row := range []string{
		`{"prompt":"q","completion":"a"}`, `{"instruction":"i","input":null,"output":"o","history":[["a","b"]],"system":"s"}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"q"}]},{"role":"assistant","content":null,` +
			`"tool_calls":[{"type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","content":"r","tool_call_id":"1"},` +
			`{"role":"assistant","content":"x","weight":0},{"role":"assistant","content":"y","train":true}],` +
			`"tools":[{"type":"function","function":{"name":"f"}}]}`,
		`{"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"},{"from":"function_call","value":"{}"},` +
			`{"from":"observation","value":"1"}],"tools":"[]"}`,
		`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":" "}]}` + "\n" +
			`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`,
		`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","thinking":"t"}],"chat_template_kwargs":{"b":[1]}}`,
		`{"prompt":"q","completion":"a","chat_template_kwargs":"{\"enable_thinking\":false}"}`,
		`{"text":"a longer text that is cut into several pieces of a few tokens"}`,
	} {
		f.Add([]byte(row+"\n"), "jsonl", long|uint8(i))
	}
	addTables(f, func(data []byte, extension string) { f.Add(data, extension, uint8(long)) })
	f.Add([]byte("a text\x00\xff\r\n"), "txt", uint8(9))
	f.Fuzz(func(t *testing.T, data []byte, extension string, how uint8) {
		source, err := Read(bytes.NewReader(data), "x."+extension)
		if err != nil {
			require.IsType(t, &usererr.Error{}, err)
			return
		}
		refused := slices.ContainsFunc(source.rows, func(row Row) bool {
			_, err := AppendLine(nil, row)
			return err != nil
		})
		if !refused {
			sameRows(t, source.rows)
		}
		e := Encoder{
			Template: templates[how&1], Tokenizer: tok, TrainOn: chat.TrainOn(how >> 1 % 3), MaxSeqLength: 2 + 4*int(how>>3), EOS: 1,
		}
		samples, report, err := inMemory(e.Encode(source))
		if err != nil {
			require.IsType(t, &usererr.Error{}, err)
			return
		}
		require.Equal(t, len(source.rows), report.Rows)
		require.Equal(t, len(samples), report.Samples)
		seen, tokens, learned, dropped := map[int]bool{}, 0, 0, 0
		for _, sample := range samples {
			require.Less(t, sample.Row, len(source.rows))
			seen[sample.Row] = true
			require.LessOrEqual(t, len(sample.IDs), e.MaxSeqLength)
			require.GreaterOrEqual(t, len(sample.IDs), 2)
			require.Len(t, sample.Labels, len(sample.IDs))
			for i, label := range sample.Labels {
				require.Less(t, int(sample.IDs[i]), tok.Size())
				require.Contains(t, []int32{notTarget, int32(sample.IDs[i])}, label)
				if i > 0 && label != notTarget {
					learned++
				}
			}
			tokens += len(sample.IDs)
		}
		for _, drop := range report.Dropped {
			require.NotEmpty(t, drop.First)
			dropped += drop.Rows
		}
		require.Equal(t, report.Tokens, tokens)
		require.Equal(t, report.TargetTokens, learned)
		require.Equal(t, report.Rows, len(seen)+dropped, "each row is in a sample or counted as left out")
	})
}
