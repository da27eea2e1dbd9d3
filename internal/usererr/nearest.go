package usererr

import (
	"fmt"
	"slices"
	"strings"
)

// DidYouMean is the way out of a name that is not known: those that may be meant, the shortest that hold what was given
// (of three letters at least), or the one that differs from it in a third of its letters at most. Where there is none
// it is what otherwise says.
func DidYouMean(given string, known []string, otherwise string) string {
	given = given[:min(len(given), most)]
	var longer []string
	if part := strings.TrimLeft(given, "-"); len(part) >= 3 { // of a flag
		for _, name := range known {
			if strings.Contains(name, part) {
				longer = append(longer, name)
			}
		}
	}
	if len(longer) > 0 {
		slices.SortStableFunc(longer, func(a, b string) int { return len(a) - len(b) })
		return fmt.Sprintf("did you mean %s?", strings.Join(longer[:min(len(longer), 3)], " or "))
	}
	if len(known) > 0 {
		if near := Nearest(given, known); Edits(given, near) <= (len(given)+2)/3 {
			return fmt.Sprintf("did you mean %s?", near)
		}
	}
	return otherwise
}

const most = 60 // bytes, more than any name has

// Nearest is the known name with the fewest insertions, deletions and substitutions to given.
func Nearest(given string, known []string) string {
	given = given[:min(len(given), most)]
	return slices.MinFunc(known, func(a, b string) int {
		return Edits(given, a) - Edits(given, b)
	})
}

// Edits is Levenshtein's distance, row by row: how many bytes have to be put in, taken out or replaced.
func Edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substituted := diagonal
			if a[i] != b[j] {
				substituted++
			}
			diagonal = row[j+1]
			row[j+1] = min(substituted, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
