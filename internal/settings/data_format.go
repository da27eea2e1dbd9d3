package settings

import (
	"strconv"
	"strings"
)

// Formats and containers of data sets, as they are printed.
var (
	DataFormats    = []string{"messages", "ShareGPT", "Alpaca", "prompt/completion", "text"}
	DataContainers = []string{"JSON Lines", "JSON array", "CSV", "CSV with semicolons", "TSV", "text file", "Parquet"}
)

// ParseDataFormat reads data_format: a format, a container or "FORMAT in CONTAINER", in any case; a format may also be
// the names of two columns, "question/answer". What is not said is empty.
func ParseDataFormat(text string) (format, container string, err error) {
	known := func(name string, names []string) string {
		for _, n := range names {
			if strings.EqualFold(n, name) {
				return n
			}
		}
		return ""
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return "", "", nil
	}
	first, second, both := strings.Cut(text, " in ")
	if container = known(strings.TrimSpace(second), DataContainers); !both {
		container = known(first, DataContainers)
	}
	if format = known(strings.TrimSpace(first), DataFormats); format == "" && strings.Count(first, "/") == 1 {
		if question, answer, _ := strings.Cut(strings.TrimSpace(first), "/"); question != "" && answer != "" {
			format = question + "/" + answer
		}
	}
	if format == "" && container == "" || both && (format == "" || container == "") {
		return "", "", Wrong("data_format", strconv.Quote(text), strings.Join(DataFormats, ", ")+", QUESTION/ANSWER; "+
			strings.Join(DataContainers, ", ")+`; or both: "Alpaca in CSV"`)
	}
	return format, container, nil
}
