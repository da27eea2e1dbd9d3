package dataset

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// questions is a data set of n rows.
func questions(t *testing.T, path string, n int) *Source {
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, `{"prompt":"%s %d","completion":"a"}`+"\n", path, i)
	}
	s, err := Read(strings.NewReader(lines.String()), path+".jsonl")
	require.NoError(t, err)
	return s
}

// Rows of several data sets come as often as their weights say, the same ones for the same seed.
func TestWeights(t *testing.T) {
	a, b, c := questions(t, "a", 10), questions(t, "b", 40), questions(t, "c", 3)
	tail, err := c.Slice("-2:")
	require.NoError(t, err)
	list := []Weighted{{a, "a.jsonl", 2.5, ""}, {b, "b.jsonl", 0.25, ""}, {tail, "c.jsonl", 1, "-2:"}}
	s, err := Combine(list)
	require.NoError(t, err)
	require.Equal(t, 52, s.Len())
	require.Equal(t, []string{"10 rows of a.jsonl, 2.5 times an epoch", "40 rows of b.jsonl, 0.25 times an epoch",
		"2 rows of c.jsonl"}, s.Notes)
	require.Equal(t, "b.jsonl, line 1", s.rows[10].Where)
	require.Equal(t, "a.jsonl, b.jsonl, c.jsonl", s.Path)

	samples, _, err := encoder(t, 128).Encode(s)
	require.NoError(t, err)
	rowsOf := func(samples Samples) (rows []int) {
		for i := range samples.Len() {
			sample, err := samples.At(i)
			require.NoError(t, err)
			rows = append(rows, sample.Row)
		}
		return rows
	}
	weigh := func(s *Source, seed uint64) []int {
		weighed, err := Weigh(samples, s, seed)
		require.NoError(t, err)
		return rowsOf(weighed)
	}
	rows := weigh(s, 42)
	require.Len(t, rows, 25+10+2)
	require.Equal(t, rows[:10], rows[10:20])
	require.Equal(t, []int{50, 51}, rows[35:])
	times := map[int]int{}
	for i, row := range rows {
		times[row]++
		if i > 0 && i != 10 && i != 20 {
			require.Less(t, rows[i-1], row)
		}
	}
	for row, n := range times {
		require.LessOrEqual(t, n, map[bool]int{true: 3, false: 1}[row < 10])
	}
	require.Equal(t, rows, weigh(s, 42))
	require.NotEqual(t, rows, weigh(s, 43))

	train, held, err := Split(samples, 0.5, 7)
	require.NoError(t, err)
	weighed, err := Weigh(train, s, 7)
	require.NoError(t, err)
	for _, row := range rowsOf(held) {
		require.NotContains(t, rowsOf(weighed), row, "what is held back is not learned")
	}

	cut, err := s.Slice("8:12")
	require.NoError(t, err)
	require.Equal(t, []part{{"a.jsonl", 2, 0, 2.5}, {"b.jsonl", 2, 2, 0.25}}, cut.parts)

	for i, other := range [][]Weighted{
		{{a, "a.jsonl", 2, ""}, {b, "b.jsonl", 0.25, ""}, {tail, "c.jsonl", 1, "-2:"}}, {list[1], list[0], list[2]}, list[:2],
		{list[0], list[1], {tail, "c.jsonl", 1, "1:3"}},
	} {
		another, err := Combine(other)
		require.NoError(t, err)
		require.NotEqual(t, s.Hash, another.Hash, i)
	}
	alone, err := Combine([]Weighted{{a, "x", 1, ""}})
	require.NoError(t, err)
	require.Same(t, a, alone)
	few, err := Combine([]Weighted{{c, "c", 0.01, ""}, {a, "a", 1, ""}})
	require.NoError(t, err)
	fewSamples, _, err := encoder(t, 128).Encode(few)
	require.NoError(t, err)
	weighed, err = Weigh(fewSamples, few, 1)
	require.NoError(t, err)
	require.Equal(t, 1+10, weighed.Len())
	half, err := Combine([]Weighted{{a, "x", 0.5, ""}})
	require.NoError(t, err)
	require.NotEqual(t, a.Hash, half.Hash)
	require.Empty(t, a.Notes, "what was given stays as it is")

	text, err := Read(strings.NewReader(`{"text":"t"}`), "t.jsonl")
	require.NoError(t, err)
	_, err = Combine([]Weighted{list[0], {text, "t.jsonl", 1, ""}})
	require.ErrorContains(t, err, "mixed formats: a.jsonl is prompt/completion, t.jsonl is text")
}
