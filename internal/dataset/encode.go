package dataset

import (
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/tokenizer"
	"qlora-wgpu/internal/usererr"
)

const (
	encodeOp  = "encode data set"
	notTarget = -100 // label of a token that is not learned, as in PyTorch's cross entropy

	// NoToken stands for a BOS or EOS that the model does not have.
	NoToken = -1
)

// Sample is one token sequence of a row.
type Sample struct {
	IDs    []uint32
	Labels []int32 // of the same length and NOT shifted: the token's own id, or −100 where it is not a target
	Row    int     // index in Source.Rows
}

// Encoder turns rows into samples of at most MaxSeqLength tokens.
//
// A conversation goes through the chat template and is cut off at MaxSeqLength. A text is tokenized as it stands,
// between BOS and EOS (each unless the text has it already); all its tokens are targets. A text longer than
// MaxSeqLength becomes several samples that overlap by one token, so that every token but the first is a target exactly
// once.
type Encoder struct {
	Template     *chat.Template // may be nil for texts
	Tokenizer    *tokenizer.Tokenizer
	TrainOn      chat.TrainOn
	MaxSeqLength int   // tokens, at least 2
	BOS, EOS     int32 // put around texts, or NoToken; a chat template writes its own
}

// encodedRow is what became of one row.
type encodedRow struct {
	samples    []Sample
	length     int // before cutting
	truncated  bool
	answersCut bool
	drop       string
	err        error
}

// Encode encodes all rows, on all cores, in the order of the source. It fails on a row that the chat template refuses,
// and when no row has a target: such a run would end with loss 0 and nothing learned.
func (e Encoder) Encode(s *Source) ([]Sample, Report, error) {
	if e.MaxSeqLength < 2 {
		return nil, Report{}, usererr.New(encodeOp, s.Path, "max_seq_length %d leaves nothing to predict", e.MaxSeqLength).
			Hinted("it has to be 2 or more")
	}
	showTools, err := e.showsTools(s)
	if err != nil {
		return nil, Report{}, err
	}
	rows := make([]encodedRow, len(s.Rows))
	const chunk = 64
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for from := 0; from < len(rows); from += chunk {
		group.Go(func() error {
			for i := from; i < min(from+chunk, len(rows)); i++ {
				rows[i] = e.encodeRow(s.Rows[i], i, showTools)
				if rows[i].err != nil {
					return nil // collect reports the first one in the file's order
				}
			}
			return nil
		})
	}
	_ = group.Wait()
	samples, report, err := e.collect(s, rows)
	if !showTools {
		for _, row := range s.Rows {
			if row.Tools != nil {
				report.ToolsUnseen++
			}
		}
	}
	return samples, report, err
}

// showsTools tells, by the first row that has tool schemas, whether the template writes them.
func (e Encoder) showsTools(s *Source) (bool, error) {
	for _, row := range s.Rows {
		if row.Tools == nil {
			continue
		}
		without, err := e.Template.Render(row.Messages, false)
		if err != nil {
			return false, rowError(s, row, err)
		}
		with, err := e.renderWithTools(row)
		if err != nil {
			return false, rowError(s, row, err)
		}
		return with != without, nil
	}
	return false, nil
}

func (e Encoder) renderWithTools(row Row) (string, error) {
	template, err := e.Template.With("tools", row.Tools)
	if err != nil {
		return "", err
	}
	return template.Render(row.Messages, false)
}

func rowError(s *Source, row Row, err error) error {
	return usererr.New(encodeOp, s.Path, "%w", err).At("%s", row.Where)
}

// targets counts the labels that a loss over this sequence sees.
func targets(labels []int32) int {
	count := 0
	for _, label := range labels[1:] {
		if label != notTarget {
			count++
		}
	}
	return count
}

func (e Encoder) encodeRow(row Row, index int, showTools bool) encodedRow {
	if row.Messages == nil {
		return e.encodeText(row.Text, index)
	}
	if len(row.Messages) == 0 || e.TrainOn != chat.TrainOnAll && !hasAnswer(row.Messages) {
		return encodedRow{drop: dropNoAnswer}
	}
	template := e.Template
	if showTools && row.Tools != nil {
		var err error
		if template, err = template.With("tools", row.Tools); err != nil {
			return encodedRow{err: err}
		}
	}
	encoded, err := template.Encode(e.Tokenizer, row.Messages, e.TrainOn)
	if err != nil {
		return encodedRow{err: err}
	}
	ids := make([]uint32, len(encoded.IDs))
	labels := make([]int32, len(encoded.IDs))
	for i, id := range encoded.IDs {
		ids[i], labels[i] = uint32(id), notTarget
		if encoded.Target[i] {
			labels[i] = id
		}
	}
	result := encodedRow{length: len(ids)}
	if len(ids) < 2 || targets(labels) == 0 {
		result.drop = dropNoTarget
		return result
	}
	if len(ids) > e.MaxSeqLength {
		whole := targets(labels)
		ids, labels = ids[:e.MaxSeqLength:e.MaxSeqLength], labels[:e.MaxSeqLength:e.MaxSeqLength]
		result.truncated = true
		switch left := targets(labels); {
		case left == 0:
			return encodedRow{length: result.length, drop: dropTruncated}
		case left < whole:
			result.answersCut = true
		}
	}
	result.samples = []Sample{{IDs: ids, Labels: labels, Row: index}}
	return result
}

func hasAnswer(messages []chat.Message) bool {
	for _, message := range messages {
		trained := message.Train == nil || *message.Train
		if message.Role == "assistant" && trained && (message.ToolCalls != nil || strings.TrimSpace(message.Content) != "") {
			return true
		}
	}
	return false
}

func (e Encoder) encodeText(text string, index int) encodedRow {
	if strings.TrimSpace(text) == "" {
		return encodedRow{drop: dropEmptyText}
	}
	encoded := e.Tokenizer.Encode(text)
	ids := make([]uint32, 0, len(encoded)+2)
	if e.BOS != NoToken && (len(encoded) == 0 || encoded[0] != e.BOS) {
		ids = append(ids, uint32(e.BOS))
	}
	for _, id := range encoded {
		ids = append(ids, uint32(id))
	}
	if e.EOS != NoToken && (len(encoded) == 0 || encoded[len(encoded)-1] != e.EOS) {
		ids = append(ids, uint32(e.EOS))
	}
	result := encodedRow{length: len(ids)}
	if len(ids) < 2 {
		result.drop = dropEmptyText
		return result
	}
	for from := 0; from == 0 || from < len(ids)-1; from += e.MaxSeqLength - 1 {
		piece := ids[from:min(from+e.MaxSeqLength, len(ids))]
		labels := make([]int32, len(piece))
		for i, id := range piece {
			labels[i] = int32(id)
		}
		if from > 0 {
			labels[0] = notTarget // the piece before has learned it
		}
		result.samples = append(result.samples, Sample{IDs: piece[:len(piece):len(piece)], Labels: labels, Row: index})
	}
	return result
}
