// Package dataset turns files into masked token lists and those into micro-batches.
//
//	Read, Open   bytes   → Source    conversations or texts, with their place in the file
//	Encoder      Source  → Samples   token ids and labels, cut at the sequence length
//	Stream       Samples → Batch     one flat token list with segments, never padded
//
// Formats are Alpaca, messages, ShareGPT, prompt/completion, other questions and answers (question/answer and the like)
// and plain text, in JSON Lines, one JSON array, a table (CSV, TSV), Parquet or, text only, a .txt file. The format is
// detected from the first row, and every row has to keep to it.
package dataset

import (
	"encoding/json/jsontext"

	"qlora-wgpu/internal/chat"
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
