package settings

import (
	"regexp"
	"strconv"
	"strings"
)

// DataFile is one of the data sets that a run learns from.
type DataFile struct {
	Path string // of a file or a folder, or a name of the hub
	// Weight is how often its rows come in an epoch: 2 twice, 0.5 half of them, 1 each once.
	Weight float64
	Rows   string // "900:960", as Source.Slice takes it; empty: all of them
}

// Weights that may be given.
const (
	leastWeight = 0.001
	mostWeight  = 100
)

// suffix is what may stand behind a path: ":2", ":0.5", ":2:1000", "::1000", "::-60:".
var suffix = regexp.MustCompile(`^(.+?):([0-9]+(?:\.[0-9]+)?)?(?::(-?[0-9]+|-?[0-9]*:-?[0-9]*))?$`)

// DataFiles reads data, each of whose lines is PATH, PATH:WEIGHT or PATH:WEIGHT:ROWS, where WEIGHT may be empty and
// ROWS is a number of first rows or a range. exists tells paths that are there as they are written, which go before
// any other meaning; the letter of a drive is no path.
func (d Dataset) DataFiles(exists func(path string) bool) ([]DataFile, error) {
	var list []DataFile
	for line := range strings.SplitSeq(d.Data, "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		f := DataFile{Path: line, Weight: 1}
		if found := suffix.FindStringSubmatch(line); found != nil && len(found[1]) > 1 && !exists(line) && found[2]+found[3] != "" {
			f.Path, f.Rows = found[1], found[3]
			if found[2] != "" {
				weight, err := strconv.ParseFloat(found[2], 64)
				if err != nil || weight < leastWeight || weight > mostWeight {
					return nil, Wrong("data", strconv.Quote(line), "a weight from 0.001 to 100").
						Hinted("PATH:WEIGHT, and rows behind a second colon: %s::%s", f.Path, found[2])
				}
				f.Weight = weight
			}
			if f.Rows != "" && !strings.Contains(f.Rows, ":") {
				if strings.HasPrefix(f.Rows, "-") {
					return nil, Wrong("data", strconv.Quote(line), "so many of the first rows, or a range").
						Hinted("%s: are the last %s", f.Rows, f.Rows[1:])
				}
				f.Rows = ":" + f.Rows
			}
		}
		list = append(list, f)
	}
	return list, nil
}
