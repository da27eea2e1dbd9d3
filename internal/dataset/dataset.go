// Package dataset turns files into masked token lists and those into micro-batches.
//
//	Read, Open   bytes   → Source{Rows}   conversations or texts, with their place in the file
//	Encoder      Source  → []Sample       token ids and labels, cut at the sequence length
//	Stream       samples → Batch          one flat token list with segments, never padded
//
// Formats are Alpaca, messages, ShareGPT, prompt/completion, other questions and answers (question/answer and the like)
// and plain text, in JSON Lines, one JSON array, a table (CSV, TSV) or, text only, a .txt file. The format is detected
// from the first row, and every row has to keep to it.
package dataset

import (
	"encoding/json/jsontext"
	"strconv"
	"strings"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/usererr"
)

// Row is one row of a data set: either Messages or Text, never both.
type Row struct {
	Messages []chat.Message
	// schemas that the conversation may call, a JSON list for the template's variable "tools"; nil without
	Tools jsontext.Value
	// variables of the template for this conversation alone, the row's chat_template_kwargs; nil without
	TemplateArgs jsontext.Value
	Text         string
	// kinds of content that no text model reads, "images" among them
	LeftOut []string
	Where   string // place in the file: "line 7", or "row 12 (line 47)" where rows may span lines
}

// Source is a data set as it was read, in the order of the file.
type Source struct {
	Path      string
	Format    string // "Alpaca", "messages", "ShareGPT", "text", or the names of its columns: "question/answer"
	Container string // "JSON Lines", "JSON array", "CSV", "CSV with semicolons", "TSV" or "text file"
	Rows      []Row
	Notes     []string // what the reader left aside, for the log
	Hash      string   // SHA-256 of the file's bytes in lower-case hex, also after Slice
}

// Slice keeps the rows "from:to" (from counted from 0, to exclusive). Either side may be left out, and a negative one
// counts from the end, as in "900:960", ":100" and "-60:". A range that leaves the data set or is empty is an error.
func (s *Source) Slice(spec string) (*Source, error) {
	n := len(s.Rows)
	fail := func(reason string) (*Source, error) {
		return nil, usererr.New("select rows", s.Path, "rows %q: %s; the data set has %d rows", spec, reason, n).
			Hinted(`write it like "0:32", ":100" or "-60:"`)
	}
	left, right, found := strings.Cut(strings.TrimSpace(spec), ":")
	if !found {
		return fail("no colon")
	}
	bound := func(text string, missing int) (int, bool) {
		if text == "" {
			return missing, true
		}
		value, err := strconv.Atoi(text)
		if err != nil {
			return 0, false
		}
		if value < 0 {
			value += n
		}
		return value, true
	}
	from, fromOK := bound(left, 0)
	to, toOK := bound(right, n)
	switch {
	case !fromOK || !toOK:
		return fail("not two whole numbers")
	case from < 0 || to < 0 || from > n || to > n:
		return fail("outside of the data set")
	case from >= to:
		return fail("an empty range")
	}
	cut := *s
	cut.Rows = s.Rows[from:to:to]
	return &cut, nil
}
