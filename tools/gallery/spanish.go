//go:build !js

package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode"

	"qlora-wgpu/internal/demo"
)

// verbs of the stories, as the model knows them and in Spanish.
var verbs = [][2]string{
	{"likes", "quiere"}, {"sees", "ve"}, {"calls", "llama"}, {"follows", "sigue"},
	{"draws", "dibuja"}, {"washes", "lava"}, {"carries", "lleva"}, {"feeds", "alimenta"},
}

// spanish makes as many examples of each verb as are wanted. All else in a story is a name: so small a model copies a
// word long before it learns another for it.
func spanish(seed uint64, people []string, each int) (all []demo.Example) {
	rng := rand.New(rand.NewPCG(seed, 0))
	seen := map[string]bool{}
	for _, verb := range verbs {
		for made := 0; made < each; {
			who := rng.Perm(len(people))
			a, b := people[who[0]], people[who[1]]
			facts := []string{fmt.Sprintf("%s %s %s.", a, verb[0], b), fmt.Sprintf("%s %s %s.", people[who[2]], verb[0], people[who[3]])}
			if rng.IntN(2) == 1 {
				slices.Reverse(facts)
			}
			prompt := fmt.Sprintf("%s %s What does %s do?", facts[0], facts[1], a)
			if !seen[prompt] {
				all = append(all, demo.Example{Prompt: prompt, Answer: fmt.Sprintf("%s %s a %s.", a, verb[1], b)})
				made++
			}
			seen[prompt] = true
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// people are the names in the stories of a data set, in order.
func people(examples []demo.Example) []string {
	names := map[string]bool{}
	for _, e := range examples {
		for _, word := range strings.FieldsFunc(e.Prompt, func(r rune) bool { return !unicode.IsLetter(r) }) {
			if unicode.IsUpper(rune(word[0])) && !slices.Contains([]string{"The", "There", "What", "Where", "Who", "How"}, word) {
				names[word] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
