package dataset

import (
	"math"

	"qlora-wgpu/internal/usererr"
)

// tokenBytes is what a Store takes for a token.
const tokenBytes = 4

// collector puts together what the rows became, which come in their order.
type collector struct {
	encoder Encoder
	source  *Source
	report  Report
	samples InMemory // as long as they are not too many
	key     string   // of them in the store
	keeping Keeping  // of those that are too many; nil: they are not
	found   Samples  // in the store, where another process has put them meanwhile
}

func (c *collector) take(_ int, at Row, row encodedRow) error {
	if row.err != nil {
		return rowError(c.source, at, row.err)
	}
	c.report.add(at, row)
	for _, sample := range row.samples {
		if err := c.encoder.check(c.source, sample.IDs); err != nil {
			return err
		}
		if err := c.add(sample); err != nil {
			return err
		}
	}
	return nil
}

// maxSamples fit the numbers of 32 bits in which orders are kept.
const maxSamples = math.MaxUint32

func (c *collector) add(sample Sample) error {
	switch store := c.encoder.Store; {
	case max(c.report.Samples, c.report.Rows) > maxSamples:
		return usererr.New(encodeOp, c.source.Path, "more than %d rows or samples", maxSamples).Of(usererr.Unsupported)
	case c.keeping != nil:
		return c.keeping.Add(sample)
	case store == nil || c.report.Tokens <= store.Beyond():
		c.samples = append(c.samples, sample)
		return nil
	}
	bytes := float64(c.report.Tokens) * tokenBytes * float64(c.source.Len()) / float64(c.report.Rows)
	var err error
	if c.keeping, c.found, c.report, err = c.create(int64(bytes)); err != nil {
		return err
	}
	if c.found != nil {
		return errEnough
	}
	for _, held := range append(c.samples, sample) {
		if err := c.keeping.Add(held); err != nil {
			return err
		}
	}
	c.samples = nil
	return nil
}

func (c *collector) create(bytes int64) (Keeping, Samples, Report, error) {
	keeping, found, report, err := c.encoder.Store.Create(c.key, bytes)
	if found == nil {
		report = c.report
	}
	return keeping, found, report, err
}

func (c *collector) discard() {
	if c.keeping != nil {
		c.keeping.Discard()
	}
}

// end gives what there is, an error where nothing is to be learned.
func (c *collector) end() (Samples, Report, error) {
	if c.report.TargetTokens == 0 {
		c.discard()
		return nil, c.report, noTargets(c.source, c.report, c.encoder.MaxSeqLength)
	}
	if c.keeping != nil {
		kept, err := c.keeping.Finish(c.report)
		return kept, c.report, err
	}
	return c.samples, c.report, nil
}
