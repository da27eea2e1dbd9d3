package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"qlora-wgpu/internal/files"
)

// words are those of the project's own documentation, each as often as it stands there, so that a tokenizer meets them
// about as in other texts.
func words() ([]string, error) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		return nil, err
	}
	var list []string
	for _, page := range append(pages, "README.md") {
		text, err := files.Read(page, 1<<20)
		if err != nil {
			return nil, fmt.Errorf("%s: %w (start in the project's folder)", page, err)
		}
		list = append(list, regexp.MustCompile(`[A-Za-z][a-z']*[,.]?`).FindAllString(string(text), -1)...)
	}
	return list, nil
}

type turn struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// generate writes conversations of 1 to 2 KB until the file has so many bytes; the same ones each time.
func generate(name string, size int64) (rows int, err error) {
	list, err := words()
	if err != nil {
		return 0, err
	}
	file, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errorOr(err, file.Close()) }()
	out := bufio.NewWriterSize(file, 1<<20)
	random := rand.New(rand.NewPCG(1, 2))
	text := func(bytes int) string {
		var b []byte
		for len(b) < bytes {
			b = append(append(b, list[random.IntN(len(list))]...), ' ')
		}
		return string(b[:len(b)-1])
	}
	for written := int64(0); written < size; rows++ {
		long := 900 + random.IntN(1000)
		asked := 50 + random.IntN(200)
		row, err := json.Marshal(map[string][]turn{"messages": {{"user", text(asked)}, {"assistant", text(long - asked)}}})
		if err != nil {
			return rows, err
		}
		row = append(row, '\n')
		if _, err := out.Write(row); err != nil {
			return rows, err
		}
		written += int64(len(row))
	}
	return rows, out.Flush()
}

func errorOr(errs ...error) error {
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return errs[i]
	}
	return nil
}
