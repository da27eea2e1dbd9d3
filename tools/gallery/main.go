//go:build !js

// Command gallery makes what the page offers to teach its embedded model: web/page/gallery/index.json, which lists the
// subjects, and of each the examples and a recorded run.
//
//	go run ./tools/gallery        all of it
//	go run ./tools/gallery -      the list and the examples, which follow from the source alone
//	go run ./tools/gallery butler these, and the butler's run
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/demo"
)

// folder is served beside the page; the paths in the list are relative to the page.
const (
	folder = "web/page/gallery"
	inPage = "gallery/"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gallery:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, wanted []string) error {
	made, err := files()
	if err != nil {
		return err
	}
	for _, id := range wanted {
		if id != "-" && !slices.ContainsFunc(subjects(), func(s subject) bool { return s.id == id && s.examples != nil }) {
			return fmt.Errorf("%q is no subject with a run", id)
		}
	}
	for name, content := range made {
		if err := write(name, content); err != nil {
			return err
		}
	}
	for _, s := range subjects() {
		if s.examples == nil || len(wanted) > 0 && !slices.Contains(wanted, s.id) {
			continue
		}
		lines, err := record(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.id, err)
		}
		if err := write(s.recordFile(), lines); err != nil {
			return err
		}
	}
	return nil
}

func write(name string, content []byte) error {
	return checkpoint.WriteBytes(checkpoint.Files{}, filepath.Join(folder, name), content)
}

// entry is a subject as the page reads it.
type entry struct {
	ID        string   `json:"id"`
	Title     string   `json:"title"`
	Says      string   `json:"says"`
	Can       string   `json:"can"`
	Settings  any      `json:"settings"` // where they differ from the embedded model's
	Questions []string `json:"questions"`
	Data      *string  `json:"data"`   // null: the table begins empty
	Record    *string  `json:"record"` // null: there is none
}

// files are the list and the examples by their names in the folder.
func files() (map[string][]byte, error) {
	made := map[string][]byte{}
	var list []entry
	for _, s := range subjects() {
		e := entry{ID: s.id, Title: s.title, Says: s.says, Can: s.can, Settings: s.settings, Questions: s.questions()}
		if s.examples != nil {
			data, record := "demo/train.jsonl", inPage+s.recordFile()
			if !s.embedded {
				data = inPage + s.dataFile()
				lines, err := rows(s.examples)
				if err != nil {
					return nil, err
				}
				made[s.dataFile()] = lines
			}
			e.Data, e.Record = &data, &record
		}
		list = append(list, e)
	}
	index, err := json.MarshalIndent(list, "", "  ")
	made["index.json"] = append(index, '\n')
	return made, err
}

// rows writes examples in the form of the embedded data set.
func rows(examples []demo.Example) ([]byte, error) {
	type turn struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	for _, e := range examples {
		row := map[string][]turn{"messages": {{"user", e.Prompt}, {"assistant", e.Answer}}}
		if err := encoder.Encode(row); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}
