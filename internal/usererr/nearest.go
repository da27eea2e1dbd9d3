package usererr

import "slices"

// Nearest is the known name with the fewest insertions, deletions and substitutions to given.
func Nearest(given string, known []string) string {
	const most = 60 // longer than any name
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
