//go:build !js

package inspect

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/processor"
)

// plainTemplate is a chat template that shows no tools, and refuses a developer's turn.
const plainTemplate = "{% for m in messages %}{% if m.role == 'developer' %}{{ raise_exception('no developers here') }}{% endif %}" +
	"<|im_start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

func text(t testing.TB) *processor.Processor {
	model, err := pretrained.Open(demotest.Model(t, 1, nil))
	require.NoError(t, err)
	t.Cleanup(func() { model.Close() })
	p, err := processor.New(model, "the model", processor.Options{ChatTemplate: plainTemplate, Now: time.Now()})
	require.NoError(t, err)
	return p
}

func read(t *testing.T, lines string) *dataset.Source {
	source, err := dataset.Read(strings.NewReader(lines), "rows.jsonl")
	require.NoError(t, err)
	return source
}

func clean(t *testing.T) string {
	data, err := os.ReadFile("testdata/clean.jsonl")
	require.NoError(t, err)
	return string(data)
}

// inspected looks at training rows and, unless they are empty, at rows to evaluate.
func inspected(t *testing.T, o Options, train, valid string) *Findings {
	i := New(o)
	require.NoError(t, i.Source(t.Context(), "train", read(t, train)))
	if valid != "" {
		require.NoError(t, i.Source(t.Context(), "valid", read(t, valid)))
	}
	found, err := i.Findings()
	require.NoError(t, err)
	return found
}

// says are the findings, with the places of all their rows.
func says(f *Findings) (all []string) {
	for _, finding := range f.Findings {
		places := finding.places()
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s", finding.Split, finding.Kind, finding.What))+": "+places)
	}
	return all
}

type turn map[string]any

func turnOf(role, content string, more ...any) turn {
	out := turn{"role": role, "content": content}
	for i := 0; i < len(more); i += 2 {
		out[more[i].(string)] = more[i+1]
	}
	return out
}

func ask(content string) turn                 { return turnOf("user", content) }
func answer(content string, more ...any) turn { return turnOf("assistant", content, more...) }

// counted is a text of so many numbers, of which no three follow one another twice.
func counted(from, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d ", from+i*i)
	}
	return strings.TrimSpace(b.String())
}

type looker int

const (
	anybody looker = iota
	aModel
	noModel // what the template writes is longer
)

// planted are bad rows of one kind each.
var planted = []struct {
	kind  string // with what, as says has it
	turns []turn
	more  turn   // columns beside the messages
	with  looker // who can tell
}{
	{"left_out no answer", []turn{ask("What is an oboe?"), answer(" \n")}, nil, anybody},
	{"left_out the answer beyond max_seq_length", []turn{ask(counted(5000, 1200)), answer("That is a long list.")}, nil, aModel},
	{"answer_cut", []turn{ask("Count as far as you like."), answer(counted(90000, 1200))}, nil, aModel},
	{"cut", []turn{ask("What is a sonnet?"), answer("A poem of fourteen lines."), ask("And these?"), answer(counted(70000, 1200),
		"weight", 0)}, nil, aModel},
	{"refused the template says: no developers here", []turn{turnOf("developer", "Be brief."), ask("What is a raft?"),
		answer("A flat boat made of logs.")}, nil, aModel},
	{"not_shown tools", []turn{ask("What can you call?"), answer("One thing alone, and it tells the time.")},
		turn{"tools": []turn{{"type": "function", "function": turn{"name": "clock", "description": "What time it is"}}}}, aModel},
	{"not_shown reasoning", []turn{ask("What is a delta?"), answer("Land that a river builds where it ends.",
		"reasoning_content", "Rivers or letters? Rivers.")}, nil, aModel},
	{"empty_answer", []turn{ask("What is a spoke?"), answer("A rod from the hub of a wheel to its rim."), ask("And a rim?"),
		answer("")}, nil, anybody},
	{"empty_question", []turn{ask(""), answer("You have not asked anything yet.")}, nil, anybody},
	{"answer_is_question", []turn{ask("Where do storks spend the winter?"), answer("where do storks spend the winter?")}, nil, anybody},
	{"repetitive_answer", []turn{ask("Why is grass green?"),
		answer("Because of the light. " + strings.Repeat("It is the light. ", 9) + "Yes.")}, nil, anybody},
	{"user_turns_in_a_row", []turn{ask("Is pewter a metal?"), ask("I mean the one of old mugs."),
		answer("It is an alloy, mostly of tin.")}, nil, anybody},
	{"answers_in_a_row", []turn{ask("What floats on mercury?"), answer("Iron does."), answer("Lead does, too.")}, nil, anybody},
	{"no_answer_at_the_end", []turn{ask("Who digs tunnels?"), answer("Moles do."), ask("And who else?")}, nil, anybody},
	{"begins_with_an_answer", []turn{answer("Welcome to the museum of clocks."), ask("When do you close?"),
		answer("At six.")}, nil, anybody},
	{"late_system_turn", []turn{ask("What is a fjord?"), turnOf("system", "Be kind."),
		answer("An inlet of the sea between cliffs.")}, nil, anybody},
	{"tool_turn_without_call", []turn{ask("How warm is it?"), turnOf("tool", "21"), answer("It is 21 degrees outside.")}, nil, anybody},
	{"template_marks <|im_end|>", []turn{ask("What ends a turn?"), answer("The mark <|im_end|> does.")}, nil, anybody},
	{"unfilled_placeholder {{ company }}", []turn{ask("Who made you?"), answer("I was made by {{ company }} last year.")}, nil, anybody},
	{"mojibake", []turn{ask("Where does one drink espresso?"), answer("At the cafÃ© on the corner.")}, nil, anybody},
	{"replacement_character", []turn{ask("Who ate the cr\ufffdpes?"), answer("Somebody with a sweet tooth.")}, nil, anybody},
	{"control_characters U+0007", []turn{ask("What rings?"), answer("A bell\a does.")}, nil, anybody},
	{"invisible_characters U+200B", []turn{ask("What is hid\u200bden?"), answer("Something between two letters.")}, nil, anybody},
	{"invisible_characters U+202E", []turn{ask("What runs backwards?"), answer("This \u202etext does.")}, nil, anybody},
	{"unusual_whitespace U+2003", []turn{ask("How wide\u2003is it?"), answer("As wide as a letter M.")}, nil, anybody},
	{"whitespace_around_answer", []turn{ask("What is a quill?"), answer(" A feather that writes.")}, nil, anybody},
	{"very_long", []turn{ask("Write down some squares."), answer(counted(1, 300))}, nil, anybody},
	{"very_short", []turn{ask("?"), answer("!")}, nil, noModel},
}

func line(t testing.TB, turns []turn, more turn) string {
	row := turn{"messages": turns}
	for name, value := range more {
		row[name] = value
	}
	data, err := json.Marshal(row)
	require.NoError(t, err)
	return string(data) + "\n"
}

const limit = 2500

// What was planted is found, each once and at its place, and nothing else.
func TestPlanted(t *testing.T) {
	p := text(t)
	for _, withModel := range []bool{true, false} {
		rows := clean(t)
		lines := strings.Count(rows, "\n")
		first := strings.SplitAfter(rows, "\n")
		var want []string
		plant := func(what string, row string) {
			rows += row
			lines++
			want = append(want, fmt.Sprintf("train %s: line %d", what, lines))
		}
		for _, bad := range planted {
			if bad.with == anybody || withModel == (bad.with == aModel) {
				plant(bad.kind, line(t, bad.turns, bad.more))
			}
		}
		plant("duplicate", first[4])
		want[len(want)-1] += " (as line 5)"
		nearly := strings.NewReplacer("Thank you so much", "Thank you very much", "but I", "BUT, I", "time.", "time!")
		plant("near_duplicate", nearly.Replace(first[22]))
		want[len(want)-1] += " (as line 23)"
		var same []string
		for _, thing := range []string{"poem", "letter", "haiku", "limerick", "toast"} {
			rows += line(t, []turn{ask("Write me a " + thing + "."), answer("I am sorry, but this is beyond me.")}, nil)
			lines++
			same = append(same, fmt.Sprintf("line %d", lines))
		}
		want = append(want, "train same_answer: the first at "+strings.Join(same, "; "),
			"valid evaluation_row_in_training: line 1 (as line 7)", "valid evaluation_row_near_training: line 2 (as line 25)")
		valid := first[6] + strings.Replace(first[24], "He worked", "For he worked", 1) +
			line(t, []turn{ask("What is a kiln?"), answer("An oven in which clay becomes stone.")}, nil)
		valid = strings.Replace(valid, "most of his life.", "most of his life!", 1)

		o := Options{MaxSeqLength: limit, Samples: 3}
		if withModel {
			o.Text, o.Model = p, "the model"
		}
		found := inspected(t, o, rows, valid)
		require.ElementsMatch(t, want, says(found))
		require.Greater(t, len(want), 20)
		require.Len(t, found.Samples, 3)

		found = inspected(t, o, clean(t), strings.SplitAfter(valid, "\n")[2])
		require.Empty(t, says(found))
	}
}
