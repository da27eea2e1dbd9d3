//go:build !js

package inspect

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/canceltest"
	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/processor"
)

// harm acts on a terminal and on a page.
const harm = "<b>\x1b[31m\u202e&\r\u009b"

// Whatever stands in a data set, or in its name, nothing of it acts on what shows it.
func TestNothingActs(t *testing.T) {
	f := &Findings{
		Model: harm, MaxSeqLength: 8, Unit: tokens, Warnings: []string{harm},
		Splits:   []Split{{Name: harm, Path: harm, Format: harm, Container: "JSON Lines", Notes: []string{harm}, Lengths: &Lengths{}}},
		Findings: []Finding{{Kind: kindMarks, What: harm, Level: mistake, Split: harm, Rows: 2, Places: []Place{{harm, harm}}}},
		Samples: []Sample{
			{Split: harm, At: harm, Tokens: []processor.Token{{Text: harm, Target: true}, {Text: harm, Role: "user"}, {Text: harm}}},
			{Split: harm, At: harm, Turns: []Turn{{Role: "user", Text: harm}}},
		},
	}
	for _, colour := range []bool{false, true} {
		var text, page strings.Builder
		require.NoError(t, f.Text(&text, colour))
		require.NoError(t, f.HTML(&page))
		said := text.String()
		if colour {
			said = strings.NewReplacer(codes[target], "", codes[mark], "", "\x1b[0m", "").Replace(said)
			require.NotEqual(t, said, text.String())
			require.NotContains(t, said, "⟦")
		}
		for _, sign := range []string{"\x1b", "\u202e", "\r", "\u009b"} {
			require.NotContains(t, said, sign)
			require.NotContains(t, page.String(), sign)
		}
		require.NotContains(t, page.String(), "<b>")
		require.Equal(t, 20, strings.Count(page.String(), "&lt;b&gt;"))
	}
}

// The keys of the JSON are there for good.
func TestKeys(t *testing.T) {
	rows := line(t, []turn{ask("Who?"), answer(" Ana.")}, nil)
	f := inspected(t, Options{Text: text(t), Model: "m", MaxSeqLength: 100, Samples: 1}, rows, rows)
	f.Samples[0].Tokens = f.Samples[0].Tokens[:1]
	got, err := json.Marshal(f, json.Deterministic(true))
	require.NoError(t, err)
	const split = `"path":"rows.jsonl","format":"messages","container":"JSON Lines","rows":1,"report":{"rows":1,"samples":1,"tokens":36,` +
		`"target_tokens":5,"longest":36,"truncated":0,"answers_cut":0,"split_texts":0},"lengths":{"shortest":36,"median":36,"p90":36,` +
		`"p99":36,"longest":36,"over_max_seq_length":0,"bins":[{"from":32,"to":47,"rows":1}]}}`
	require.Equal(t, `{"model":"m","max_seq_length":100,"unit":"tokens","splits":[{"name":"train",`+split+`,{"name":"valid",`+split+`],`+
		`"findings":[{"kind":"evaluation_row_in_training","level":"mistake","split":"valid","rows":1,"places":[{"at":"line 1","of":"line 1"}]},`+
		`{"kind":"whitespace_around_answer","level":"look","split":"train","rows":1,"places":[{"at":"line 1"}]},`+
		`{"kind":"whitespace_around_answer","level":"look","split":"valid","rows":1,"places":[{"at":"line 1"}]}],`+
		`"samples":[{"split":"train","at":"line 1","tokens":[{"text":"<","target":false,"id":32,"role":""}]}],`+
		`"method":{"words":3,"hashes":64,"bands":8,"threshold":0.8,"error":0.05,"found":0.989,"least_words":8}}`,
		string(got))
}

// What is counted is what training says of the same rows.
func TestTheReportIsTrainings(t *testing.T) {
	p := text(t)
	rows := clean(t)
	for _, bad := range planted {
		if !strings.HasPrefix(bad.kind, "refused") {
			rows += line(t, bad.turns, bad.more)
		}
	}
	for _, on := range []chat.TrainOn{chat.TrainOnAssistant, chat.TrainOnLast, chat.TrainOnAll} {
		_, want, err := p.Encoder(on, limit).Encode(read(t, rows))
		require.NoError(t, err)
		got := inspected(t, Options{Text: p, MaxSeqLength: limit, TrainOn: on}, rows, "")
		require.Equal(t, want, *got.Splits[0].Report)
	}
}

// Rows are like each other by what is said in them, not by what the system says in all of them.
func TestWhatRowsAreComparedBy(t *testing.T) {
	rows := ""
	system := turnOf("system", counted(1, 60))
	for i := range 30 {
		rows += line(t, []turn{system, ask(fmt.Sprintf("What is %d minus %d, please tell me?", 7*i, i)),
			answer(fmt.Sprintf("%d it is.", 6*i))}, nil)
	}
	require.Empty(t, says(inspected(t, Options{}, rows, "")))

	rows = ""
	prompt := "Classify what follows as one of the kinds below. " + counted(1, 80)
	for i := range 30 {
		rows += line(t, []turn{ask(prompt + counted(1000*i, 10)), answer("kind A")}, nil)
	}
	require.Empty(t, says(inspected(t, Options{}, rows, "")), "nor by a prompt that many share")
	again := line(t, []turn{ask(prompt + counted(7000, 10) + "!"), answer("kind A")}, nil)
	require.Equal(t, []string{"train near_duplicate: line 31 (as line 8)"}, says(inspected(t, Options{}, rows+again, "")))

	thought := func(of string) string {
		return line(t, []turn{ask("Go on."), answer("Yes.", "reasoning_content", of)}, nil)
	}
	require.Empty(t, says(inspected(t, Options{}, thought(counted(1, 20))+thought(counted(500, 20)), "")))
	require.Equal(t, []string{"train near_duplicate: line 2 (as line 1)"},
		says(inspected(t, Options{}, thought(counted(1, 20))+thought(counted(1, 20)+"!"), "")))
	tools := func(name string) string {
		return line(t, []turn{ask("Go on."), answer("Yes.")}, turn{"tools": []turn{{"name": name}}})
	}
	require.Equal(t, []string{"train duplicate: line 3 (as line 1)"}, says(inspected(t, Options{}, tools("a")+tools("b")+tools("a"), "")))
}

// Of rows that are like each other one is kept, also where the first of them is too long.
func TestKeep(t *testing.T) {
	long, short := counted(1, 60), counted(1, 55)
	var rows []string
	for _, a := range []string{long, long, short, "Something else.", short, "Something else."} {
		rows = append(rows, line(t, []turn{ask("Count."), answer(a)}, nil))
	}
	rows = append(rows, line(t, []turn{turnOf("developer", "No."), ask("Why?"), answer("So.")}, nil),
		line(t, []turn{ask("?"), answer("")}, nil))
	i := New(Options{Text: text(t), MaxSeqLength: 1 << 20})
	source := read(t, strings.Join(rows, ""))
	require.NoError(t, i.Source(t.Context(), "train", source))
	require.NoError(t, i.Source(t.Context(), "valid", read(t, rows[3]+line(t, []turn{ask("New?"), answer("Yes.")}, nil))))
	found, err := i.Findings()
	require.NoError(t, err)
	most := found.Splits[0].Lengths.Longest - 1

	kept, left := i.Keep("train", true, 0)
	require.Equal(t, []bool{true, false, false, true, false, false, true, true}, kept)
	require.Equal(t, Left{Duplicates: 3, Near: 1}, left)
	kept, left = i.Keep("train", true, most)
	require.Equal(t, []bool{false, false, true, true, false, false, false, true}, kept)
	require.Equal(t, Left{Duplicates: 3, Long: 1, Refused: 1}, left)
	kept, left = i.Keep("train", false, most)
	require.Equal(t, []bool{false, false, true, true, true, true, false, true}, kept)
	require.Equal(t, Left{Long: 2, Refused: 1}, left)
	kept, left = i.Keep("valid", true, most)
	require.Equal(t, []bool{false, true}, kept)
	require.Equal(t, Left{Duplicates: 1}, left)
}

// An inspection ends where it is cancelled, and looks often enough.
func TestCancelled(t *testing.T) {
	rows := read(t, strings.Repeat(clean(t), 40))
	o := Options{Text: text(t), MaxSeqLength: limit}
	counted := canceltest.At(t, 0)
	require.NoError(t, New(o).Source(counted, "train", rows))
	require.Greater(t, counted.Looks(), int64(rows.Len()))
	for _, look := range []int64{1, 2, counted.Looks() / 2} {
		require.ErrorIs(t, New(o).Source(canceltest.At(t, look), "train", rows), context.Canceled)
	}
}

// Many kinds of a kind are not named one by one.
func TestKindsOfAKind(t *testing.T) {
	rows := ""
	for n := range mostWhats + 5 {
		rows += line(t, []turn{ask(fmt.Sprint(n)), answer(fmt.Sprintf("I am {{ name%d }} number %d", n, n*n))}, nil)
	}
	found := inspected(t, Options{}, rows, "")
	require.Len(t, found.Findings, mostWhats+1)
	require.Equal(t, "5 rows have a placeholder that was not filled in (something else)", found.Findings[0].title())
}

// A text is one row, whose pieces are none of a conversation's.
func TestTexts(t *testing.T) {
	source, err := dataset.Read(strings.NewReader(clean(t)+"<|im_end|> {{name}} "+harm), "a.txt")
	require.NoError(t, err)
	i := New(Options{Text: text(t), Model: "m", MaxSeqLength: 64, Samples: 3})
	require.NoError(t, i.Source(t.Context(), "train", source))
	found, err := i.Findings()
	require.NoError(t, err)
	require.Equal(t, []string{
		"train control_characters U+001B: line 1", "train control_characters U+009B: line 1", "train invisible_characters U+202E: line 1",
		"train unusual_whitespace a carriage return: line 1",
	}, says(found))
	require.Equal(t, 1, found.Splits[0].Report.SplitTexts)
	require.Len(t, found.Samples[0].Tokens, 64)
	require.False(t, found.Samples[0].Tokens[0].Target)
	require.True(t, found.Samples[0].Tokens[1].Target)
}

// Before a run what costs little to find is said, without what the run says itself and what may be meant.
func TestBriefly(t *testing.T) {
	rows := clean(t)
	for _, bad := range planted {
		rows += line(t, bad.turns, bad.more)
	}
	first := strings.SplitAfter(rows, "\n")
	data, valid := read(t, rows+first[3]+first[3]), read(t, first[2]+first[5])
	looked := 0
	found, err := Briefly(t.Context(), Options{Looked: func(rows int) { looked += rows }}, data, valid)
	require.NoError(t, err)
	require.Equal(t, data.Len()+valid.Len(), looked)
	lines := found.Text()
	require.Contains(t, lines, "2 rows of valid are among the training rows, the first at line 1, as line 3")
	require.Contains(t, lines, "2 rows are there already, the first at line 58, as line 4")
	require.Contains(t, lines, "1 row has control characters (U+0007), the first at line 51")
	require.Len(t, lines, mostLines+1)
	require.Equal(t, "and 4 findings of other kinds, of which data inspect tells", lines[mostLines])
	require.NotContains(t, strings.Join(lines, "\n"), "left out")

	found, err = Briefly(t.Context(), Options{}, read(t, clean(t)), nil)
	require.NoError(t, err)
	require.Empty(t, found.Text())

	few, err := read(t, first[3]).Some(0)
	require.NoError(t, err)
	found, err = briefly(t.Context(), Options{}, read(t, first[3]+first[3]+first[4]), read(t, first[3]), 2*bytesOf(few[0]))
	require.NoError(t, err)
	require.Equal(t, []string{"1 row is there already, the first at line 2, as line 1",
		"so far the first 2 of 4 rows; data inspect looks at all"}, found.Text())
	_, err = Briefly(canceltest.At(t, 1), Options{}, read(t, clean(t)), nil)
	require.ErrorIs(t, err, context.Canceled)
}
