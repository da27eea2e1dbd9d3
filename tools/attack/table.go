//go:build unix

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// row is a target's line in the table.
func row(t target, often, result, commit string, when time.Time) string {
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s, %s |", t.name, t.what, often, result, commit, when.Format(time.DateOnly))
}

// renew replaces the target's line in the table, or puts it at the table's end.
func renew(path, name, line string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	begin, last := "| `"+name+"` |", -1
	for i, old := range lines {
		if strings.HasPrefix(old, begin) {
			lines[i] = line
			return os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o666)
		}
		if strings.HasPrefix(old, "|") {
			last = i
		}
	}
	if last < 0 {
		return fmt.Errorf("%s has no table", path)
	}
	return os.WriteFile(path, []byte(strings.Join(slices.Insert(lines, last+1, line), "\n")), 0o666)
}
