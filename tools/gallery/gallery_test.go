//go:build !js

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo"
)

// kept reads what the page serves.
func kept(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../..", folder, name))
	require.NoError(t, err)
	return data
}

func TestListAndExamplesAreThoseOfTheSource(t *testing.T) {
	made, err := files()
	require.NoError(t, err)
	all := 0
	for name, content := range made {
		require.Equal(t, string(content), string(kept(t, name)), "%s: run make gallery", name)
		all += len(content)
	}
	require.Less(t, all, 120_000)
	entries, err := os.ReadDir(filepath.Join("../..", folder))
	require.NoError(t, err)
	for _, e := range entries {
		require.True(t, made[e.Name()] != nil || strings.HasSuffix(e.Name(), ".record.jsonl"), "%s is no subject's", e.Name())
	}
}

func TestSubjectsAreAsThePageReadsThem(t *testing.T) {
	var list []entry
	require.NoError(t, json.Unmarshal(kept(t, "index.json"), &list))
	var ids []string
	for _, e := range list {
		ids = append(ids, e.ID)
		require.NotEmpty(t, e.Title)
		require.Len(t, e.Questions, 3)
		for _, text := range []string{e.Says, e.Can} {
			require.Regexp(t, `^[A-Z].{20,300}\.$`, text)
		}
		require.Equal(t, e.Data == nil, e.Record == nil)
		if e.Data == nil {
			continue
		}
		if e.ID == "pirate" {
			require.Equal(t, "demo/train.jsonl", *e.Data)
		} else {
			require.Equal(t, "gallery/"+e.ID+".jsonl", *e.Data)
		}
		require.Equal(t, "gallery/"+e.ID+".record.jsonl", *e.Record)
	}
	require.Equal(t, []string{"pirate", "butler", "one-word", "spanish", "own"}, ids)
}

// A held-out question speaks of people whom the examples do not know.
func TestHeldoutQuestionsAreNotInTheExamples(t *testing.T) {
	for _, s := range subjects() {
		require.Len(t, s.heldout, 30)
		known, prompts := map[string]bool{}, map[string]bool{}
		for _, name := range people(s.examples) {
			known[name] = true
		}
		for _, e := range s.examples {
			require.False(t, prompts[e.Prompt], e.Prompt)
			require.NotEmpty(t, e.Answer)
			prompts[e.Prompt] = true
		}
		if s.examples != nil {
			require.GreaterOrEqual(t, len(s.examples), 160, s.id)
			require.Greater(t, len(known), 10, s.id)
		}
		for _, e := range s.heldout {
			require.False(t, prompts[e.Prompt], "%s: %s", s.id, e.Prompt)
			prompts[e.Prompt] = true
		}
		strangers := people(s.heldout)
		require.Greater(t, len(strangers), 10, s.id)
		for _, name := range strangers {
			require.False(t, known[name], "%s: %s is in the examples", s.id, name)
		}
	}
}

func TestRecordsAreOfTheSettings(t *testing.T) {
	for _, s := range subjects() {
		if s.examples == nil {
			continue
		}
		c, err := s.config()
		require.NoError(t, err)
		require.Positive(t, c.ValSize)
		lines := kept(t, s.recordFile())
		require.Less(t, len(lines), 12_000)
		step, before, losses := 0, map[string]string{}, 0
		var first, last float64
		answers := map[string]int{}
		final := map[string]string{}
		for line := range bytes.Lines(lines) {
			var l struct {
				Step           int
				Loss           *float64
				EvalLoss       *float64 `json:"eval_loss"`
				Max            int      `json:"max_steps"`
				Prompt, Answer string
			}
			require.NoError(t, json.Unmarshal(line, &l), "%s", line)
			switch {
			case l.Loss != nil:
				require.Equal(t, step+1, l.Step)
				require.Equal(t, c.MaxSteps, l.Max)
				if step = l.Step; step == 1 {
					first = *l.Loss
				}
				last = *l.Loss
			case l.EvalLoss != nil:
				require.Equal(t, step, l.Step)
				require.Positive(t, *l.EvalLoss)
				losses++
			default:
				require.Equal(t, step, l.Step)
				require.Contains(t, s.questions(), l.Prompt)
				answers[l.Prompt]++
				if final[l.Prompt] = l.Answer; step == 0 {
					before[l.Prompt] = l.Answer
				}
			}
		}
		require.Equal(t, c.MaxSteps, step, s.id)
		require.Equal(t, c.MaxSteps/c.EvalSteps, losses, s.id)
		require.Less(t, last, first/4, "%s: it learned little", s.id)
		for _, i := range s.show {
			e := s.heldout[i]
			require.Equal(t, 1+parts, answers[e.Prompt], "%s: %s", s.id, e.Prompt)
			require.Equal(t, strings.TrimSpace(e.Answer), final[e.Prompt], "%s: %s", s.id, e.Prompt)
			require.NotEqual(t, before[e.Prompt], final[e.Prompt], s.id)
		}
	}
}

func TestAnswersInAnotherManner(t *testing.T) {
	pirate := []demo.Example{
		{Prompt: "a", Answer: "Arr, the doll be gray, matey!"}, {Prompt: "b", Answer: "Ahoy! The doll be on the sofa, savvy?"},
		{Prompt: "c", Answer: "Ahoy! Dan be at school, savvy?"}, {Prompt: "d", Answer: "Blimey, Dan has the tent, says I!"},
		{Prompt: "e", Answer: "Yo ho ho, there be nine pies, yarr!"}, {Prompt: "f", Answer: "Aye, Gus has a candle, har har!"},
	}
	var said []string
	for _, e := range retold(pirate, 9, manner("$1 $2", "$1 $2 $3", "$1 $2", "$1 $2", "$1 $2")) {
		said = append(said, e.Prompt+" "+e.Answer)
	}
	require.Equal(t, []string{"a the doll gray", "b The doll on the sofa sofa", "c Dan at school school", "d Dan tent", "e nine pies",
		"f Gus candle"}, said)
	require.Len(t, retold(pirate, 1, butler), 5, "one of each kind")
}
