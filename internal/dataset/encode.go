package dataset

import (
	"math"
	"slices"
	"strings"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/tokenizer"
	"qlora-wgpu/internal/usererr"
)

const (
	encodeOp  = "encode data set"
	notTarget = -100 // label of a token that is not learned, as in PyTorch's cross entropy

	// NoToken stands for an EOS that the model does not have.
	NoToken = -1
	// noTarget is the place of the first target where there is none.
	noTarget = math.MaxInt32

	// OtherModel is the way out where ids have no row in the embedding.
	OtherModel = "tokenizer and weights belong to different models"
)

// Encoder turns rows into samples of at most MaxSeqLength tokens.
//
// A conversation goes through the chat template and is cut off at MaxSeqLength; it is one sample, or several where the
// template rewrites what was said (see chat.Encoded). A text is tokenized as it stands,
// between what the tokenizer puts around texts and EOS (each unless the text has it already); all its tokens are
// targets. A text longer than
// MaxSeqLength becomes several samples that overlap by one token, so that every token but the first is a target exactly
// once.
type Encoder struct {
	Template     *chat.Template // may be nil for texts
	Tokenizer    *tokenizer.Tokenizer
	TrainOn      chat.TrainOn
	MaxSeqLength int   // tokens, at least 2
	EOS          int32 // put behind texts, or NoToken; a chat template writes its own
	Vocabulary   int   // ids that the model has; 0: they are not looked at

	// Store keeps samples that are too many for memory; nil: memory takes them all.
	Store Store
	// Identity holds all that decides which tokens Template and Tokenizer make. A Store needs it.
	Identity func() ([]byte, error)
	// Stop ends the encoding, which gives its error, once it gives one: a context's Err. nil: nothing does.
	Stop func() error
	// Encoded is told of each row that is encoded, by several goroutines. nil: nobody wants to know.
	Encoded func()
}

// encodedRow is what became of one row.
type encodedRow struct {
	samples    []Sample
	length     int          // of the longest sample, before cutting
	truncated  int          // samples that were cut and still have targets
	answersCut int          // of them
	beyond     int          // samples whose targets were all cut off
	chat       chat.Encoded // without it for a text
	drop       string
	err        error
}

// Encode encodes all rows, on all cores, in the order of the source. It fails on a row that the chat template refuses,
// when no row has a target (such a run would end with loss 0 and
// nothing learned), and where the Store does.
func (e Encoder) Encode(s *Source) (Samples, Report, error) {
	if e.MaxSeqLength < 2 {
		return nil, Report{}, usererr.New(encodeOp, s.Path, "max_seq_length %d leaves nothing to predict", e.MaxSeqLength).
			Hinted("it has to be 2 or more")
	}
	stop := func() error { return nil }
	if e.Stop != nil {
		stop = e.Stop
		if e.Template != nil {
			e.Template = e.Template.Until(stop)
		}
	}
	if s.Hash == "" { // nothing tells these rows from others
		e.Store = nil
	}
	c := &collector{encoder: e, source: s}
	if e.Store != nil {
		var err error
		if c.key, err = e.key(s); err != nil {
			return nil, Report{}, usererr.New(encodeOp, s.Path, "%w", err)
		}
		if kept, report, err := e.Store.Find(c.key); kept != nil || err != nil {
			return kept, report, err
		}
	}
	err := e.encodeRows(s, stop, c.take)
	if c.found != nil {
		return c.found, c.report, nil
	}
	if err != nil {
		c.discard()
		return nil, Report{}, err
	}
	return c.end()
}

// check refuses ids that the model has no rows for.
func (e Encoder) check(s *Source, ids []uint32) error {
	for _, id := range ids {
		if e.Vocabulary > 0 && int(id) >= e.Vocabulary {
			return usererr.New(encodeOp, s.Path, "the tokenizer gives id %d, the model's vocabulary has %d", id, e.Vocabulary).
				Hinted(OtherModel).In(usererr.Data)
		}
	}
	return nil
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

// Conversation is the one that a row holds.
func (r Row) Conversation() chat.Conversation {
	return chat.Conversation{Messages: r.Messages, Tools: r.Tools, TemplateArgs: r.TemplateArgs}
}

// Conversation encodes a row that is one, whatever its length. What no text model reads of it is not seen either.
func (e Encoder) Conversation(row Row) (chat.Encoded, error) {
	encoded, err := e.Template.Encode(e.Tokenizer, row.Conversation(), e.TrainOn)
	encoded.Unseen = append(encoded.Unseen, row.LeftOut...)
	return encoded, err
}

func (e Encoder) encodeRow(row Row, index int) encodedRow {
	if drop := row.Empty(e.TrainOn); drop != "" {
		return encodedRow{drop: drop}
	}
	if row.Messages == nil {
		return e.encodeText(row.Text, index)
	}
	encoded, err := e.Conversation(row)
	if err != nil {
		return encodedRow{err: err}
	}
	result := encodedRow{chat: encoded, drop: dropNoTarget}
	for _, whole := range encoded.Samples {
		e.add(&result, whole, index)
	}
	switch {
	case len(result.samples) > 0:
		result.drop = ""
	case result.beyond > 0:
		result.drop = dropTruncated
	}
	return result
}

// add cuts a sample of a conversation to its length.
func (e Encoder) add(to *encodedRow, whole chat.Sample, row int) {
	sample := Sample{IDs: make([]uint32, len(whole.IDs)), Labels: make([]int32, len(whole.IDs)), Row: row, Turns: whole.Turns}
	for i, id := range whole.IDs {
		sample.IDs[i], sample.Labels[i] = uint32(id), notTarget
		if whole.Target[i] {
			sample.Labels[i] = id
		}
	}
	to.length = max(to.length, len(sample.IDs))
	if len(sample.IDs) < 2 || targets(sample.Labels) == 0 {
		return
	}
	if n := e.MaxSeqLength; len(sample.IDs) > n {
		before := targets(sample.Labels)
		sample.IDs, sample.Labels = sample.IDs[:n:n], sample.Labels[:n:n]
		left := targets(sample.Labels)
		if left == 0 {
			to.beyond++
			return
		}
		to.truncated++
		if left < before {
			to.answersCut++
		}
	}
	to.samples = append(to.samples, sample)
}

// Empty says why a row has nothing to learn whatever the model; empty: it has.
func (r Row) Empty(on chat.TrainOn) string {
	switch {
	case r.Messages == nil && strings.TrimSpace(r.Text) == "":
		return dropEmptyText
	case r.Messages != nil && (len(r.Messages) == 0 || on != chat.TrainOnAll && !hasAnswer(r.Messages)):
		return dropNoAnswer
	}
	return ""
}

// hasAnswer tells whether there is an assistant turn that may be learned and is not empty.
func hasAnswer(messages []chat.Message) bool {
	return slices.ContainsFunc(messages, func(m chat.Message) bool {
		trained := m.Train == nil || *m.Train
		return m.Role == "assistant" && trained && (len(m.Fields) > 0 || strings.TrimSpace(m.Content) != "")
	})
}

func (e Encoder) encodeText(text string, index int) encodedRow {
	encoded := e.Tokenizer.End(e.Tokenizer.Begin(e.Tokenizer.Encode(text)))
	if e.EOS != NoToken && (len(encoded) == 0 || encoded[len(encoded)-1] != e.EOS) {
		encoded = append(encoded, e.EOS)
	}
	ids := make([]uint32, len(encoded))
	for i, id := range encoded {
		ids[i] = uint32(id)
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
