package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/inspect"
)

// hostile is a row whose every text means harm to a terminal or a page.
const hostile = `{"messages":[{"role":"user","content":"<script>alert(1)</script> \u001b[31mred\u001b]0;x\u0007 \u202e"},` +
	`{"role":"assistant","content":"</pre><img src=x onerror=alert(1)>{{template}} <|im_end|>"}]}`

// dataFolder is a data set with two hostile rows, the second of which is there already, and a row to evaluate.
func dataFolder(t *testing.T) string {
	dir := t.TempDir()
	rows := hostile + "\n" + hostile + "\n"
	for i := range 40 {
		rows += fmt.Sprintf(`{"messages":[{"role":"user","content":"What is %d and %d?"},`+
			`{"role":"assistant","content":"It is %d."}]}`+"\n", i, i*i, i+i*i)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "train.jsonl"), []byte(rows), 0o666))
	valid := `{"messages":[{"role":"user","content":"What is 3 and 9?"},{"role":"assistant","content":"It is 12."}]}` + "\n" +
		`{"messages":[{"role":"user","content":"How are you?"},{"role":"assistant","content":"Well."}]}` + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "valid.jsonl"), []byte(valid), 0o666))
	return dir
}

// The findings are the same as text, JSON and page, and none of them acts on what shows it.
func TestDataInspect(t *testing.T) {
	data, model := dataFolder(t), demotest.Model(t, 1, nil)
	name := filepath.Join(t.TempDir(), "a page.html")
	status, text, stderr := invoke(t, "data", "inspect", "--data", data, "--model", model, "--html", name, "--max-seq-length=200")
	require.Zero(t, status, stderr)
	require.NotContains(t, text, "\x1b")
	require.NotContains(t, text, "\u202e")
	require.Contains(t, text, "42 samples, ")
	require.Contains(t, text, "  1 row is there already: line 2 (as line 1)\n")
	require.Contains(t, text, "  1 row of valid is among the training rows: line 1 (as line 6)\n")
	require.Contains(t, text, "⟦It is ")

	written, err := os.ReadFile(name)
	require.NoError(t, err)
	page := string(written)
	require.NotContains(t, page, "<script")
	require.NotContains(t, page, "<img")
	require.NotContains(t, page, "\x1b")
	require.NotContains(t, page, "\u202e")
	require.Contains(t, page, "1 row is there already")

	status, said, stderr := invoke(t, "data", "inspect", "--data", data, "--model", model, "--json", "--max-seq-length=200")
	require.Zero(t, status, stderr)
	var found inspect.Findings
	require.NoError(t, json.Unmarshal([]byte(said), &found))
	require.Equal(t, []int{42, 2}, []int{found.Splits[0].Rows, found.Splits[1].Rows})
	require.Equal(t, 42, found.Splits[0].Report.Samples)
	kinds := map[string]int{}
	for _, f := range found.Findings {
		kinds[f.Kind] += f.Rows
		require.Contains(t, text, f.Places[0].At)
	}
	require.Equal(t, 1, kinds["duplicate"])
	require.Equal(t, 4, kinds["control_characters"], "two kinds in two rows")
	require.Len(t, found.Samples, 3)

	status, text, stderr = invoke(t, "data", "inspect", "--data", data, "--rows=2:")
	require.Zero(t, status, stderr)
	require.Contains(t, text, "40 rows\n  characters a row: ")
	require.Contains(t, text, "Without --model ")

	refused(t, "inspect data set "+name+": it is there already (--force replaces it)\n", "data", "inspect", "--data", data, "--html", name)
	refused(t, "settings: chat_template is x, allowed: only with model", "data", "inspect", "--data", data, "--chat-template=x")
	refused(t, "inspect data set "+data+": this is a folder (name a file in it)\n",
		"data", "inspect", "--data", data, "--html", data, "--force")
	again, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, page, string(again))
}

// What is written is what was read, but for what was to be left out, and gives the same ids.
func TestDataConvert(t *testing.T) {
	data, model, dir := dataFolder(t), demotest.Model(t, 1, nil), t.TempDir()
	convert := func(args ...string) string {
		t.Helper()
		status, stdout, stderr := invoke(t, append([]string{"data", "convert"}, args...)...)
		require.Zero(t, status, stderr)
		return stdout
	}
	lines := func(name string) []string {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		return strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
	}
	ids := func(name string) string {
		status, stdout, stderr := invoke(t, "tokenize", "--chat", "--model", model, name)
		require.Zero(t, status, stderr)
		return stdout
	}
	train := filepath.Join(data, "train.jsonl")
	table := filepath.Join(dir, "rows.csv")
	require.NoError(t, os.WriteFile(table, []byte("prompt,completion\n\"one, two\",three\nfour,\"fi\"\"ve\"\nfour,\"fi\"\"ve\"\n"), 0o666))

	out := filepath.Join(dir, "all.jsonl")
	require.Equal(t, out+": 42 of 42 rows\n", convert("--data", train, "--output", out))
	require.Equal(t, ids(train), ids(out))
	fromTable := filepath.Join(dir, "table.jsonl")
	require.Equal(t, fromTable+": 3 of 3 rows\n", convert("--data", table, "--output", fromTable))
	require.Equal(t, ids(table), ids(fromTable))
	require.Equal(t, fromTable+": 2 of 3 rows, without 1 that are there already\n",
		convert("--data", table, "--output", fromTable, "--dedup", "--force"))
	require.Equal(t, `{"messages":[{"role":"user","content":"one, two"},{"role":"assistant","content":"three"}]}`, lines(fromTable)[0])

	// A folder with rows to evaluate becomes one, in which none of those is a training row.
	both := filepath.Join(dir, "both")
	require.Equal(t, fmt.Sprintf("%s: 41 of 42 rows, without 1 that are there already\n%s: 1 of 2 rows, without 1 that are there already\n",
		filepath.Join(both, "train.jsonl"), filepath.Join(both, "valid.jsonl")), convert("--data", data, "--output", both, "--dedup"))
	require.Equal(t, lines(out)[0], lines(filepath.Join(both, "train.jsonl"))[0])
	require.Equal(t, lines(filepath.Join(data, "valid.jsonl"))[1:], lines(filepath.Join(both, "valid.jsonl")))

	// Rows that are held back are the others; seeds choose other ones.
	split := func(name string, more ...string) (kept, held []string) {
		folder := filepath.Join(dir, name)
		convert(append([]string{"--data", train, "--output", folder, "--split=0.25", "--sample=20"}, more...)...)
		return lines(filepath.Join(folder, "train.jsonl")), lines(filepath.Join(folder, "valid.jsonl"))
	}
	kept, held := split("split")
	require.Equal(t, []int{15, 5}, []int{len(kept), len(held)})
	require.Subset(t, lines(out), append(kept, held...))
	again, _ := split("again")
	require.Equal(t, kept, again)
	other, _ := split("other", "--seed=7")
	require.NotEqual(t, kept, other)

	short := filepath.Join(dir, "short.jsonl")
	require.Equal(t, short+": 40 of 42 rows, without 2 with more than 40 tokens\n",
		convert("--data", train, "--output", short, "--model", model, "--max-tokens=40"))
	require.Equal(t, lines(train)[2:], lines(short))

	refused(t, "convert data set "+out+": it is there already (--force replaces it)\n", "data", "convert", "--data", train, "--output", out)
	refused(t, "convert data set "+filepath.Join(dir, "no.jsonl")+": no row is left for it: 42 rows, without 42 with more than 3 tokens\n",
		"data", "convert", "--data", train, "--output", filepath.Join(dir, "no.jsonl"), "--model", model, "--max-tokens=3")
	name := filepath.Join(dir, "a.jsonl")
	refused(t, "convert data set "+name+": a folder is wanted, for train.jsonl and valid.jsonl",
		"data", "convert", "--data", data, "--output", name)
	name = filepath.Join(dir, "a.txt")
	refused(t, "convert data set "+name+": a name that ends in .jsonl is wanted", "data", "convert", "--data", train, "--output", name)
	refused(t, "settings: max_tokens is 5, allowed: only with model",
		"data", "convert", "--data", train, "--output", "x.jsonl", "--max-tokens=5")
	refused(t, "settings: split is 42, allowed: fewer than the 42 rows that are left",
		"data", "convert", "--data", train, "--output", filepath.Join(dir, "none"), "--split=42")
	absent := filepath.Join(dir, "absent")
	for _, args := range [][]string{{"inspect", "--html"}, {"convert", "--output"}} {
		name := filepath.Join(absent, "a.jsonl")
		refused(t, args[0]+" data set "+name+": there is no folder "+absent+" (make it before)\n",
			"data", args[0], "--data", train, args[1], name)
	}
	refused(t, "settings: split is 0.1, allowed: 0 where", "data", "convert", "--data", data, "--output", dir, "--split=0.1")
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Len(t, left, 8, "no file that is not whole")
}

// What is read while it is written may be one of the files that are replaced, and no row of it is lost.
func TestDataConvertOntoItsOwnInput(t *testing.T) {
	dir := t.TempDir()
	name := func(file string) string { return filepath.Join(dir, file) }
	long := strings.Repeat("a long answer ", dataset.HeldBytes/100/14+1)
	var rows strings.Builder
	for i := range 101 { // which are not held
		fmt.Fprintf(&rows, `{"question":"What is %d?","answer":%q}`+"\n", i, long)
	}
	for _, input := range []string{"train.jsonl", "valid.jsonl"} {
		require.NoError(t, os.WriteFile(name(input), []byte(rows.String()), 0o666))
		status, _, stderr := invoke(t, "data", "convert", "--data", name(input), "--output", dir, "--split=20", "--force")
		require.Zero(t, status, stderr)
		train, valid, err := dataset.Open(dir)
		require.NoError(t, err)
		require.Equal(t, []int{81, 20}, []int{train.Len(), valid.Len()})
	}
}
