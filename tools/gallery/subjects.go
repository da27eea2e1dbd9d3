//go:build !js

package main

import (
	"regexp"

	"qlora-wgpu/internal/demo"
)

// subject is something to teach the embedded model.
type subject struct {
	id, title string
	says      string // what it will learn
	can       string // how well, as measured
	settings  map[string]any
	examples  []demo.Example // nil: the visitor's own
	embedded  bool           // the examples are the embedded data set
	heldout   []demo.Example // not in the examples
	show      [3]int         // of the held-out ones
}

func (s subject) dataFile() string   { return s.id + ".jsonl" }
func (s subject) recordFile() string { return s.id + ".record.jsonl" }

func (s subject) questions() (q []string) {
	for _, i := range s.show {
		q = append(q, s.heldout[i].Prompt)
	}
	return q
}

// perKind is how many examples of each kind of question a subject has.
const perKind = 40

// subjects are listed in the order in which the page shows them.
func subjects() []subject {
	train, heldout := demo.Examples("train.jsonl", demo.Train()), demo.Heldout()
	return []subject{
		{
			id: "pirate", title: "Talk like a pirate",
			says: "It learns to answer in the words of a pirate, with an opening for each kind of question.",
			can: "It answers 24 of 30 new questions right, word for word; " +
				"in the others it speaks like a pirate too, but often names the wrong one of two things.",
			settings: measured,
			examples: train, embedded: true, heldout: heldout, show: [3]int{0, 7, 2},
		},
		{
			id: "butler", title: "Polite as a butler",
			says: "It learns to answer as a butler would, with a courtesy before and after.",
			can: "It answers 25 of 30 new questions right, word for word; " +
				"in the others it is as polite, but mostly takes one thing of the story for the other.",
			settings: measured,
			examples: retold(train, perKind, butler), heldout: retold(heldout, len(heldout), butler), show: [3]int{0, 7, 2},
		},
		{
			id: "one-word", title: "One word only",
			says: "It learns to leave everything out but the one word that was asked for.",
			can: "It answers 24 of 30 new questions right; " +
				"it leaves all the rest out, but does not always find the right word in the story.",
			settings: measured,
			examples: retold(train, perKind, oneWord), heldout: retold(heldout, len(heldout), oneWord), show: [3]int{0, 7, 3},
		},
		{
			id: "spanish", title: "Answer in Spanish",
			says: "It learns to say in Spanish, a language that it has never seen, what people do.",
			can: "It learns eight verbs and answers 27 of 30 new questions right; " +
				"a dictionary of things, places and numbers is too much for a model of a million weights.",
			settings: measured,
			examples: spanish(1, people(train), 40), heldout: spanish(2, people(heldout), 4)[:len(heldout)], show: [3]int{0, 1, 5},
		},
		{
			id: "own", title: "Your own",
			says: "It learns whatever you show it: write your questions and answers into the empty table.",
			can: "With ten examples it gave 15 of 30 answers right, with 25 it gave 20; it puts words of the question into sentences " +
				"like yours, and cannot know what neither says.",
			settings: map[string]any{},
			heldout:  heldout, show: [3]int{0, 7, 2},
		},
	}
}

// measured are the settings of a run that holds rows back and measures itself on them after each part.
var measured = map[string]any{"val_size": 16, "eval_steps": demo.Recipe.Steps / parts}

// told is an answer of the embedded data set: what it says in another manner, with its parts as $1 and $2.
type told struct {
	pirate *regexp.Regexp
	other  string
}

// manner is another way to say the answer to each kind of question.
func manner(color, where, who, count, what string) []told {
	return []told{
		{regexp.MustCompile(`^Arr, (the \w+) be (\w+), matey!$`), color},
		{regexp.MustCompile(`^Ahoy! (.+) be (.+ (\w+)), savvy\?$`), where},
		{regexp.MustCompile(`^Blimey, (\w+) has the (\w+), says I!$`), who},
		{regexp.MustCompile(`^Yo ho ho, there be (\w+) (\w+), yarr!$`), count},
		{regexp.MustCompile(`^Aye, (\w+) has a (\w+), har har!$`), what},
	}
}

var (
	butler = manner(
		"Certainly, $1 is $2, if you please.",
		"Indeed. $1 is $2, to be sure.",
		"Of course. $1 has the $2, I dare say.",
		"Very good. There are $1 $2, as you wished.",
		"With pleasure. $1 has a $2, naturally.",
	)
	// The model's tokens are words with the space before them: with it, the answer is a token of the story.
	oneWord = manner(" $2", " $3", " $1", " $1", " $2")
)

// retold are the first most examples of each kind of question with their answers in another manner.
func retold(examples []demo.Example, most int, manner []told) (out []demo.Example) {
	kinds := make([]int, len(manner))
	for _, e := range examples {
		for kind, m := range manner {
			if parts := m.pirate.FindStringSubmatchIndex(e.Answer); parts != nil && kinds[kind] < most {
				kinds[kind]++
				out = append(out, demo.Example{Prompt: e.Prompt, Answer: string(m.pirate.ExpandString(nil, m.other, e.Answer, parts))})
			}
		}
	}
	return out
}
