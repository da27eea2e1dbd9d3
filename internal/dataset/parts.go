package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// join is one data set of several, which are named so; rows tell which they are of.
func join(path string, names []string, parts []*Source) (*Source, error) {
	s := &Source{Path: path, Format: parts[0].Format, Container: parts[0].Container, columns: parts[0].columns, files: names}
	counted := map[string]int{} // by a note without its number of rows, index in s.Notes
	for i, part := range parts {
		if part.Format != s.Format {
			return nil, usererr.New(readOp, path, "mixed formats: %s is %s, %s is %s", names[0], s.Format, names[i], part.Format).Of(usererr.Format).
				Hinted("all rows that are learned together are of one format")
		}
		if !slices.Contains(strings.Split(s.Container, " and "), part.Container) {
			s.Container += " and " + part.Container
		}
		for _, name := range part.Repositories {
			if !slices.Contains(s.Repositories, name) {
				s.Repositories = append(s.Repositories, name)
			}
		}
		for _, note := range part.Notes {
			s.Notes = addNote(s.Notes, counted, note)
		}
	}
	s.Hash = hashOf(parts)
	each := func(do func(Row) error) error {
		for i, part := range parts {
			if err := part.Each(func(_ int, row Row) error {
				row.Where = names[i] + ", " + row.Where
				return do(row)
			}); err != nil {
				return err
			}
		}
		return nil
	}
	for _, part := range parts {
		if s.count += part.Len(); part.again != nil {
			s.again = each
		}
	}
	if s.again != nil {
		return s, nil
	}
	return s, each(func(row Row) error {
		s.rows = append(s.rows, row)
		return nil
	})
}

// hashOf holds all bytes of several data sets, and their order.
func hashOf(parts []*Source) string {
	sum := sha256.New()
	for _, part := range parts {
		fmt.Fprintln(sum, part.Hash)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

var countedNote = regexp.MustCompile(`^(.*) \((\d+) rows\)$`)

// addNote adds a note of one of several files; rows that are counted in several are counted together.
func addNote(notes []string, counted map[string]int, note string) []string {
	found := countedNote.FindStringSubmatch(note)
	if found == nil {
		found = []string{note, note, "0"}
	}
	rows, _ := strconv.Atoi(found[2])
	at, known := counted[found[1]]
	if !known {
		counted[found[1]] = len(notes)
		return append(notes, note)
	}
	if before := countedNote.FindStringSubmatch(notes[at]); before != nil {
		earlier, _ := strconv.Atoi(before[2])
		notes[at] = fmt.Sprintf("%s (%d rows)", found[1], earlier+rows)
	}
	return notes
}
