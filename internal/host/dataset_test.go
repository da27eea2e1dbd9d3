//go:build !js

package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/hub/hubtest"
	"qlora-wgpu/internal/settings"
)

func TestOpenSeveralDataSets(t *testing.T) {
	dir := t.TempDir()
	at := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o666))
		return path
	}
	const rows = `{"prompt":"1","completion":"a"}` + "\n" + `{"prompt":"2","completion":"a"}` + "\n"
	a, folder := at("a:b.jsonl", rows), filepath.Dir(at("set/train.csv", "prompt,completion\nx,y\n"))
	at("set/dev.csv", "prompt,completion\nv,w\n")
	odd := at("odd.jsonl:2", rows)
	open := func(data string) ([]string, int, error) {
		d, err := OpenData(t.Context(), settings.Dataset{Data: data}, t.TempDir(), func(events.Event) {})
		if err != nil {
			return nil, 0, err
		}
		defer d.Close()
		held := 0
		if d.Valid != nil {
			held = d.Valid.Len()
		}
		return d.Train.Notes, held, nil
	}
	notes, held, err := open(a + ":2:1\n" + folder + ":0.5\n" + odd)
	require.NoError(t, err)
	require.Equal(t, 1, held)
	require.Equal(t, []string{"1 rows of " + a + ", 2 times an epoch", "1 rows of " + folder + ", 0.5 times an epoch", "2 rows of " +
		odd}, notes)
	_, _, err = open(a + "::5")
	require.ErrorContains(t, err, `rows ":5": outside of the data set; the data set has 2 rows`)
	_, _, err = open(a + "\n" + filepath.Join(dir, "absent.jsonl") + ":2")
	require.ErrorContains(t, err, "absent.jsonl: ")
}

// A row template is a file, and says alone what is learned.
func TestDataTemplate(t *testing.T) {
	dir := t.TempDir()
	at := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o666))
		return path
	}
	open := func(r settings.Reading) error {
		d := settings.Dataset{Data: at("a.jsonl", `{"a":"b"}`), Reading: r}
		opened, err := OpenData(t.Context(), d, dir, func(events.Event) {})
		if err == nil {
			require.Equal(t, "text", opened.Train.Format)
			opened.Close()
		}
		return err
	}
	require.NoError(t, open(settings.Reading{DataTemplate: at("t.jinja", "{{ a }}"),
		Learned: settings.Learned{DataFormat: "JSON Lines"}}))
	require.ErrorContains(t, open(settings.Reading{DataTemplate: at("e.jinja", " \n")}), "e.jinja: the template is empty")
	require.ErrorContains(t, open(settings.Reading{DataTemplate: dir + "/absent"}), "read data template "+dir+"/absent: ")
	for _, other := range []settings.Learned{{DataColumns: "text=a"}, {DataFormat: "text"}} {
		require.ErrorContains(t, open(settings.Reading{DataTemplate: at("t.jinja", "x"), Learned: other}), "the template says what is learned")
	}
}

// The splits of a data set on the hub: those that are wanted are fetched, and no others.
func TestDataOfTheHub(t *testing.T) {
	server := hubtest.New(t)
	t.Setenv("HF_ENDPOINT", server.Endpoint)
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	parquet, err := os.ReadFile("../dataset/testdata/parquet/snappy.parquet")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	rows := func(n int) []byte {
		return []byte(strings.Repeat(`{"prompt":"`+strings.Repeat("p", n)+`","completion":"a"}`+"\n", n))
	}
	server.Repos["datasets/org/set"] = &hubtest.Repo{
		Files: map[string][]byte{
			"README.md": []byte("---\nconfigs:\n- config_name: main\n  default: true\n  data_files:\n  - {split: train, path: main/train-*}\n" +
				"  - {split: validation, path: main/val.jsonl}\n  - {split: test, path: main/test.jsonl}\n" +
				"- config_name: other\n  data_files: other.json*\n---\n"),
			"main/train-0.jsonl": rows(3), "main/train-1.jsonl": rows(4), "main/val.jsonl": rows(2), "main/test.jsonl": rows(5),
			"other.jsonl": rows(6), "picture.png": []byte("no rows"),
		},
		Large: map[string]bool{"main/train-0.jsonl": true},
	}
	server.Repos["datasets/org/script"] = &hubtest.Repo{
		Files: map[string][]byte{"script.py": []byte("import datasets"), "README.md": []byte("# Set")}, Branch: "refs/convert/parquet",
		Other: &hubtest.Repo{Files: map[string][]byte{"en/train/0000.parquet": parquet, "de/partial-train/0000.parquet": parquet,
			"de/test/0000.parquet": parquet}, Large: map[string]bool{"en/train/0000.parquet": true}},
		OtherSaved: strings.Repeat("ab", 20),
	}
	server.Repos["datasets/org/empty"] = &hubtest.Repo{Files: map[string][]byte{"script.py": []byte("")}}
	var said, repositories []string
	cache := t.TempDir()
	open := func(d settings.Dataset) (train, valid int, err error) {
		said = nil
		opened, err := OpenData(t.Context(), d, cache, func(e events.Event) { said = append(said, e.String()) })
		if err != nil {
			return 0, 0, err
		}
		defer opened.Close()
		if opened.Valid != nil {
			valid = opened.Valid.Len()
		}
		repositories = opened.Train.Repositories
		return opened.Train.Len(), valid, nil
	}
	for _, c := range []struct {
		settings.Dataset
		train, valid int
		want         string // of the error
	}{
		{settings.Dataset{Data: "org/set"}, 7, 2, ""},
		{settings.Dataset{Data: "org/set:0.5:-4:", Reading: settings.Reading{DataSplit: "train"}}, 4, 0, ""},
		{settings.Dataset{Data: "org/set@main", Reading: settings.Reading{DataConfig: "other"}}, 6, 0, ""},
		{settings.Dataset{Data: "org/set", Reading: settings.Reading{DataConfig: "third"}}, 0, 0,
			`org/set: there is no config "third" (there are "main", "other"`},
		{settings.Dataset{Data: "org/set", Reading: settings.Reading{DataSplit: "train2"}}, 0, 0,
			`org/set: there is no split "train2" (there are "test", "train", "validation"`},
		{settings.Dataset{Data: "org/set@v9"}, 0, 0, "org/set has no revision v9"},
		{settings.Dataset{Data: "org/set@main:Q4_K_M"}, 0, 0, "a data set has no types"},
		{settings.Dataset{Data: "org/sets"}, 0, 0, "the hub has no such repository"},
		{settings.Dataset{Data: "org/empty"}, 0, 0, "org/empty: there is no file with rows"},
		{settings.Dataset{Data: "org/script"}, 0, 0,
			`org/script@refs/convert/parquet: there are several configs: "de", "en" (say which: --data-config de`},
		{settings.Dataset{Data: "org/script", Reading: settings.Reading{DataConfig: "de"}}, 24, 0, ""},
		{settings.Dataset{Data: "hf.co/datasets/org/script", Reading: settings.Reading{DataConfig: "en"}}, 24, 0, ""},
		{settings.Dataset{Data: "data/train.jsonl"}, 0, 0, "data/train.jsonl: no such file or directory"},
	} {
		train, valid, err := open(c.Dataset)
		if c.want != "" {
			require.ErrorContains(t, err, c.want)
			continue
		}
		require.NoError(t, err, c.Data)
		require.Len(t, repositories, 1)
		require.Contains(t, c.Data, repositories[0])
		require.Equal(t, []int{c.train, c.valid}, []int{train, valid}, c.Data)
	}
	require.Zero(t, server.Served("main/test.jsonl")+server.Served("de/test/0000.parquet")+server.Served("picture.png"))
	require.Equal(t, int64(len(rows(3))), server.Served("main/train-0.jsonl"))

	t.Setenv("HF_HUB_OFFLINE", "1")
	train, valid, err := open(settings.Dataset{Data: "org/set"})
	require.NoError(t, err)
	require.Equal(t, []int{7, 2}, []int{train, valid})
	_, _, err = open(settings.Dataset{Data: "org/absent"})
	require.ErrorContains(t, err, "HF_HUB_OFFLINE")

	require.NoError(t, os.MkdirAll("org/set", 0o777))
	require.NoError(t, os.WriteFile("org/set/train.jsonl", rows(1), 0o666))
	train, _, err = open(settings.Dataset{Data: "org/set:2"})
	require.NoError(t, err)
	require.Equal(t, 1, train)
	require.Empty(t, repositories)
	require.Equal(t, []string{"org/set is taken from this computer, not from the hub."}, said)
}
