//go:build !js

package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// The splits that Hugging Face's datasets and MLX find by names, and by what a README declares.
func TestLayout(t *testing.T) {
	const head = "---\nlicense: mit\nconfigs:\n"
	for _, c := range []struct {
		names, readme, config, split string
		train, valid                 string // files
		want                         string // error, or the first note
	}{
		{names: "train.jsonl valid.jsonl test.jsonl", train: "train.jsonl", valid: "valid.jsonl", want: `not used: split "test"`},
		{names: "README.md dataset_infos.json data/train-00000-of-00002.parquet data/train-00001-of-00002.parquet " +
			"data/val-00000-of-00001.parquet",
			train: "data/train-00000-of-00002.parquet data/train-00001-of-00002.parquet", valid: "data/val-00000-of-00001.parquet"},
		{names: "train/b.jsonl train/a.jsonl dev/a.jsonl", train: "train/a.jsonl train/b.jsonl", valid: "dev/a.jsonl"},
		{names: "my-set_training.csv.gz my-set_validation.csv.gz latest.csv", train: "my-set_training.csv.gz", valid: "my-set_validation.csv.gz",
			want: `not used: "latest.csv", whose names are of no split`},
		{names: "a.json b.json README.md notes.md", train: "a.json b.json"},
		{names: "test.jsonl", train: "test.jsonl"},
		{names: "train.jsonl valid.jsonl", split: "validation", train: "valid.jsonl", want: `not used: split "train"`},
		{names: "train.jsonl test.jsonl", split: "dev", want: `there is no split "dev" (there are "test", "train")`},
		{names: "valid.jsonl test.jsonl", want: `there is no split "train" (there are "test", "validation")`},
		{names: "README.md a.py", want: "there is no file with rows (name a file, or put train.jsonl"},
		{names: "data-00000-of-00001.arrow state.json dataset_info.json", want: "Arrow files alone, as save_to_disk"},

		{names: "en/train/0000.parquet de/train/0000.parquet de/test/0000.parquet",
			want: `there are several configs: "de", "en" (say which: --data-config de)`},
		{names: "en/train/0000.parquet de/partial-train/0000.parquet de/test/0000.parquet", config: "de", train: "de/partial-train/0000.parquet"},
		{names: "default/train/0000.parquet de/train/0000.parquet", train: "default/train/0000.parquet"},
		{names: "en/train/0000.parquet", config: "fr", want: `there is no config "fr" (there are "en")`},
		{names: "en/train.csv de/train.csv de/dev.csv", config: "de", train: "de/train.csv", valid: "de/dev.csv"},

		{names: "data/a-1.csv data/a-2.csv data/b.csv train.csv", train: "data/a-1.csv data/a-2.csv", valid: "data/b.csv",
			readme: head +
				"- config_name: default\n  data_files:\n  - split: train\n    path: data/a-*\n" +
				"  - split: validation\n    path:\n    - data/b.csv\ntags: x\n---\n# Title"},
		{names: "x/1.json x/2.json y.json", train: "x/1.json x/2.json", readme: head + "  - config_name: one\n    data_files: 'x/*.json'\n---\n"},
		{names: "x/1.json x/2.json y.json", config: "two", train: "y.json",
			readme: head + "- config_name: one\n  default: true\n  data_files: [x/**]\n- config_name: two\n  data_files: \"y.json\"\n---\n"},
		{names: "a/train.json b/train.json", config: "b", train: "b/train.json",
			readme: head + "- config_name: a\n  data_dir: a\n- config_name: b\n  data_dir: b\n---\n"},
		{names: "a.json b.json", config: "c", readme: head +
			"- config_name: a\n  data_files: a.json\n- config_name: b\n  data_files: b.json\n---\n",
			want: `there is no config "c" (there are "a", "b")`},
		{names: "a.json b.json", readme: head + "- config_name: a\n  data_files: a.json\n- config_name: b\n  data_files: b.json\n---\n",
			want: `there are several configs: "a", "b" (say which: --data-config a)`},
		{names: "a.parquet b.parquet c.parquet", want: `there are several splits: "train_gen", "train_sft" (say which: --data-split train_gen)`,
			readme: head +
				"- config_name: default\n  data_files:\n" +
				"  - {split: train_sft, path: 'a*'}\n  - {split: test_sft, path: 'b*'}\n  - {split: train_gen, path: 'c*'}\n---\n"},
		{names: "a.parquet b.parquet", split: "test_sft", train: "b.parquet",
			readme: head +
				"- config_name: default\n  data_files:\n" +
				"  - {split: train_sft, path: 'a[.]*'}\n  - {split: test_sft, path: 'b?parquet'}\n---\n"},
		{names: "a.json", readme: head + "- data_files: b.json\n---\n",
			want: `the split "train" of config "default" has no files: none fits "b.json"`},
		{names: "a.json", readme: head + "- data_files: {train: a.json, test: [b, c]}\n---\n", train: "a.json"},
		{names: "a.json", readme: head + "- data_files: {train: b.json, test: a.json}\n---\n",
			want: `the split "train" of config "default" has no files`},
		{names: "a.json", readme: head + "- data_files: {train: a.json, test: [b, c]}\n---\n", split: "test", want: `none fits "b", "c"`},
		{names: "a.json", readme: head + "- data_files: {train: [1]}\n---\n", want: "a pattern of files is "},
		{names: "a.json", readme: head + "- data_files: 3\n---\n", want: "data_files is no text and no list of them: 3 (name the files instead)"},
		{names: "a.json", readme: "---\nconfigs: no\n---\n",
			want: "cannot be read: line 1: string was used where sequence is expected (name the files instead)"},
		{names: "a.json", readme: head + "- data_files: &a [*a]\n---\n", want: "anchors and tags are not read"},
		{names: "a.json", readme: head + "- data_files: " + strings.Repeat("[", 50) + "\n---\n", want: "nested too deep"},
		{names: "train.json", readme: "# no head\n---\nconfigs:\n- x\n---\n", train: "train.json"},
	} {
		l, err := LayoutOf("the/set", strings.Fields(c.names), []byte(c.readme), c.config)
		var train, valid string
		if err == nil {
			train, valid, err = l.Choose(c.split)
		}
		if c.train == "" {
			require.ErrorContains(t, err, c.want, c.names)
			require.ErrorContains(t, err, "read data set the/set: ")
			continue
		}
		require.NoError(t, err, c.names)
		require.Equal(t, c.train, strings.Join(l.Splits[train], " "))
		require.Equal(t, c.valid, strings.Join(l.Splits[valid], " "), c.names)
		if c.want != "" {
			require.Equal(t, c.want, l.Notes(train, valid)[0])
		}
	}
}

// folderOf writes files, each a name and its content.
func folderOf(t *testing.T, files ...string) string {
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		name := filepath.Join(dir, filepath.FromSlash(files[i]))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o777))
		require.NoError(t, os.WriteFile(name, []byte(files[i+1]), 0o666))
	}
	return dir
}

const rowOf = `{"prompt":"%s","completion":"a","n":1}` + "\n"

// Files of a split are read one behind another, as one data set whose rows tell their file.
func TestFolderOfSeveralFiles(t *testing.T) {
	a, b := fmt.Sprintf(rowOf, "1")+fmt.Sprintf(rowOf, "2"), fmt.Sprintf(rowOf, "3")
	dir := folderOf(t, "data/train-00001-of-00002.jsonl", b, "data/train-00000-of-00002.jsonl", a, "data/test.jsonl", b, "dev.csv",
		"q\ta\nx\ty\n",
		".cache/train.jsonl", "{}")
	train, valid, err := Open(dir)
	require.NoError(t, err)
	var questions, places []string
	require.NoError(t, train.Each(func(i int, row Row) error {
		require.Equal(t, i, len(places))
		questions, places = append(questions, row.Messages[0].Content), append(places, row.Where)
		return nil
	}))
	require.Equal(t, []string{"1", "2", "3"}, questions)
	require.Equal(t, []string{
		"data/train-00000-of-00002.jsonl, line 1", "data/train-00000-of-00002.jsonl, line 2", "data/train-00001-of-00002.jsonl, line 1",
	}, places)
	require.Equal(t, []string{`not used: column "n" (3 rows)`, `not used: split "test"`}, train.Notes)
	require.Equal(t, "JSON Lines", train.Container)
	require.Equal(t, []Row{{Messages: []chat.Message{user("x"), assistant("y")}, Where: "line 2"}}, valid.rows)

	for _, held := range []int64{-1, 500, 900} { // none, those of the shorter file, and of the longer one alone are in memory
		again, _, err := Reading{Held: held}.Open(dir)
		require.NoError(t, err)
		require.NotNil(t, again.again, held)
		require.Equal(t, []any{3, train.Hash, train.Notes}, []any{again.Len(), again.Hash, again.Notes})
		cut, err := again.Slice("1:3")
		require.NoError(t, err)
		require.NoError(t, cut.Each(func(i int, row Row) error {
			require.Equal(t, train.rows[i+1], row)
			return nil
		}))
	}

	swapped := folderOf(t, "data/train-00000-of-00002.jsonl", b, "data/train-00001-of-00002.jsonl", a)
	other, _, err := Open(swapped)
	require.NoError(t, err)
	require.NotEqual(t, train.Hash, other.Hash)

	only, none, err := Reading{Split: "test"}.Open(dir)
	require.NoError(t, err)
	require.Nil(t, none)
	require.Equal(t, 1, only.Len())

	for want, files := range map[string][]string{
		"mixed formats in the split \"train\": train-1.jsonl and train-2.csv": {"train-1.jsonl", a, "train-2.csv",
			"prompt,completion\na,b\n"},
		"mixed formats in the split \"train\": train.jsonl and train.jsonl.gz":     {"train.jsonl", a, "train.jsonl.gz", "x"},
		"mixed formats: train-1.jsonl is prompt/completion, train-2.jsonl is text": {"train-1.jsonl", a, "train-2.jsonl", `{"text":"b"}`},
		"train-2.jsonl: line 1: bad format: not valid JSON":                        {"train-1.jsonl", a, "train-2.jsonl", "{oh"},
		"the split \"train\" is empty: none of its 2 files has rows":               {"train-1.jsonl", "", "train-2.jsonl", "\n", "test.jsonl", b},
		"valid.jsonl: bad format: no rows: the file is empty":                      {"train.jsonl", a, "valid.jsonl", ""},
	} {
		_, _, err := Open(folderOf(t, files...))
		require.ErrorContains(t, err, want)
		e := &usererr.Error{}
		require.ErrorAs(t, err, &e)
	}
	empty, _, err := Open(folderOf(t, "train-1.jsonl", a, "train-2.jsonl", ""))
	require.NoError(t, err)
	require.Equal(t, []string{`not used: column "n" (2 rows)`, "train-2.jsonl has no rows"}, empty.Notes)
	_, _, err = Reading{Columns: settings.Columns{}, Split: "test"}.Open("testdata/alpaca.csv")
	require.ErrorContains(t, err, "a file has neither configs nor splits")
}

// FuzzLayout attacks names of files and a README.
func FuzzLayout(f *testing.F) {
	f.Add("train.jsonl valid.jsonl", "", "", "")
	f.Add("a/train/0000.parquet",
		"---\nconfigs:\n- config_name: a\n  data_files:\n  - split: train\n    path: 'a/**/[0-9]*.p?rquet'\n---\n", "a", "train")
	f.Add("x/1.json", "---\nconfigs:\n- data_dir: x\n- {config_name: b, default: true, data_files: {test: [x/*]}}\n---\n", "", "test")
	f.Fuzz(func(t *testing.T, names, readme, config, split string) {
		l, err := LayoutOf("x", strings.Fields(names), []byte(readme), config)
		if err == nil {
			var train, valid string
			if train, valid, err = l.Choose(split); err == nil {
				require.NotEmpty(t, l.Splits[train])
				require.NotEqual(t, train, valid)
				for _, name := range l.Splits[train] {
					require.NotEmpty(t, containerOf(name))
				}
				return
			}
		}
		require.IsType(t, &usererr.Error{}, err)
	})
}
