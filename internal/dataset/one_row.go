package dataset

// Encoded is what became of one row, for whoever looks at rows one at a time; a Report counts it.
type Encoded struct{ row encodedRow }

// Row encodes a row. An error is the chat template's, or of a tokenizer that the model has no rows for.
func (e Encoder) Row(row Row, index int) (Encoded, error) {
	encoded := e.encodeRow(row, index)
	for _, sample := range encoded.samples {
		if err := e.check(&Source{}, sample.IDs); err != nil {
			return Encoded{}, err
		}
	}
	return Encoded{encoded}, encoded.err
}

// Samples are those of the row; none where it has nothing to learn.
func (e Encoded) Samples() []Sample { return e.row.samples }

// Add counts what became of a row.
func (r *Report) Add(row Row, e Encoded) { r.add(row, e.row) }
