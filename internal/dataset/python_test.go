//go:build !js

package dataset

import (
	"encoding/json/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
)

// datasetsLibrary runs lines with Hugging Face's datasets, QLORA_HUB_PYTHON's, in a folder, and gives what they print.
func datasetsLibrary(t *testing.T, dir, lines string, into any) {
	t.Helper()
	if os.Getenv("QLORA_HUB_PYTHON") == "" {
		t.Skip("QLORA_HUB_PYTHON names no Python with datasets (make test-hub)")
	}
	command := exec.Command(os.Getenv("QLORA_HUB_PYTHON"), "-c", "import json, random, gzip, shutil\nimport datasets\n"+lines)
	command.Dir = dir
	command.Env = append(os.Environ(), "HF_HOME="+t.TempDir(), "HF_HUB_OFFLINE=1", "HF_DATASETS_DISABLE_PROGRESS_BARS=1")
	out, err := command.Output()
	if failed, ok := err.(*exec.ExitError); ok {
		require.NoError(t, err, string(failed.Stderr))
	}
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, into))
}

// One data set that Python's datasets writes as JSON Lines, gz, CSV and Parquet gives the same ids, those of the rows
// that it reads itself.
func TestPythonDatasetsWritesTheSameSamples(t *testing.T) {
	dir := t.TempDir()
	var rows []struct {
		Instruction string `json:"instruction"`
		Input       string `json:"input"`
		Output      string `json:"output"`
	}
	datasetsLibrary(t, dir, `
random.seed(7)
pieces = ["one", "two words", "a \"quote\"", "a, comma", "line\nline", "ümläut", "字", "🙂", "\t", "<|im_end|>", " ", "'", "\\", "3.0", "null"]
text = lambda: " ".join(random.choices(pieces, k=random.randint(1, 30)))
rows = [{"instruction": text(), "input": text() if i % 3 else "", "output": text()} for i in range(300)]
d = datasets.Dataset.from_list(rows)
d.to_json("rows.jsonl", force_ascii=False)
d.to_json("ascii.jsonl")
d.to_csv("rows.csv")
d.to_parquet("rows.parquet", batch_size=70)
for name in ["rows.jsonl", "rows.csv"]:
  with open(name, "rb") as a, gzip.open(name + ".gz", "wb") as b: shutil.copyfileobj(a, b)
print(json.dumps(list(datasets.load_dataset("parquet", data_files="rows.parquet", split="train"))))
`, &rows)
	require.Len(t, rows, 300)
	var list []Row
	for _, row := range rows {
		question := row.Instruction
		if row.Input != "" {
			question += "\n" + row.Input
		}
		list = append(list, Row{Messages: []chat.Message{user(question), assistant(row.Output)}})
	}
	want, _, err := inMemory(encoder(t, 256).Encode(SourceOf("theirs", list)))
	require.NoError(t, err)
	for _, name := range []string{"rows.jsonl", "ascii.jsonl", "rows.jsonl.gz", "rows.csv", "rows.csv.gz", "rows.parquet"} {
		s, _, err := Open(filepath.Join(dir, name))
		require.NoError(t, err, name)
		require.Equal(t, "Alpaca", s.Format)
		got, _, err := inMemory(encoder(t, 256).Encode(s))
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
}

// Folders have the splits that datasets finds in them, of the same rows in the same order.
func TestPythonDatasetsFindsTheSameSplits(t *testing.T) {
	for _, files := range [][]string{
		{"train.jsonl", "1", "valid.jsonl", "2", "test.jsonl", "3"},
		{"data/train-00001-of-00002.jsonl", "2", "data/train-00000-of-00002.jsonl", "1", "data/validation-00000-of-00001.jsonl", "3"},
		{"train/b.jsonl", "2", "train/a.jsonl", "1", "dev/x.jsonl", "3"},
		{"my-set_training.jsonl", "1", "my-set_val.jsonl", "2"},
		{"a.jsonl", "1", "b.jsonl", "2", "README.md", "# Set\n"},
		{"x/1.jsonl", "1", "x/2.jsonl", "2", "y.jsonl", "3", "z.jsonl", "4", "README.md", "---\nconfigs:\n- config_name: default\n" +
			"  data_files:\n  - split: train\n    path: 'x/*.jsonl'\n  - split: validation\n    path:\n    - y.jsonl\n---\n"},
		{"a/train.jsonl", "1", "b/train.jsonl", "2", "README.md", "---\nconfigs:\n- config_name: default\n  data_dir: b\n---\n"},
	} {
		for i := 1; i < len(files); i += 2 {
			if !strings.HasSuffix(files[i-1], ".md") {
				files[i] = `{"text":"` + files[i] + `"}` + "\n"
			}
		}
		dir := folderOf(t, files...)
		var theirs map[string][]string
		lines := `print(json.dumps({k: list(v["text"]) for k, v in datasets.load_dataset("` + filepath.ToSlash(dir) + `").items()}))`
		datasetsLibrary(t, dir, lines, &theirs)
		train, valid, err := Open(dir)
		require.NoError(t, err)
		texts := func(s *Source) (list []string) {
			if s != nil {
				require.NoError(t, s.Each(func(_ int, row Row) error { list = append(list, row.Text); return nil }))
			}
			return list
		}
		require.Equal(t, theirs["train"], texts(train), files)
		require.Equal(t, theirs["validation"], texts(valid), files)
	}
}
