//go:build !js

package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
)

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
