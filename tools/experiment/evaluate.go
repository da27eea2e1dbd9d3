//go:build !js

package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strconv"

	"golang.org/x/sync/errgroup"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
)

// subject is a model with a data set of rows that count.
type subject struct {
	name, dataName string
	model          *pretrained.Model
	data           *dataset.Source
	all            bool // the prompts' tokens count too
	longest        int  // rows are cut to so many tokens; 0: at the model's limit
}

// through is the model whose linears went through a format, which the engine then loads as one in 16 bits.
func through(m *pretrained.Model, f format) (*pretrained.Model, error) {
	w := linears("", m)
	each := make([][]float32, len(w.matrices))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, matrix := range w.matrices {
		group.Go(func() error {
			x := make([]float32, matrix.n)
			err := matrix.read(x)
			each[i] = f.roundTrip(x)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	values := map[string][]float32{}
	for i, matrix := range w.matrices {
		values[matrix.name] = each[i]
	}
	return m.Replaced(values)
}

// quiet leaves out what a run tells, but for warnings.
func quiet(e events.Event) {
	if w, ok := e.(events.Warning); ok {
		fmt.Println("warning:", w)
	}
}

// evaluate is the loss of each row, by what `qlora-wgpu eval` does. block 0: in 16 bits; else packed in NF4.
func (s subject) evaluate(ctx context.Context, dev *gpu.Device, m *pretrained.Model, block int) (rows []events.Eval, err error) {
	c := settings.Default[settings.Inference]()
	c.Model, c.Autotune, c.Quantize = s.name, "off", settings.Unquantized
	if block > 0 {
		c.Quantize, c.BlockSize = settings.QuantizedNF4, block
	}
	in := answer.Inputs{Model: m, Cache: host.MeasurementsIn(""), HostMemory: host.Memory, Opened: dev}
	a, err := answer.New(ctx, c, settings.Default[settings.Sampling](), in, quiet)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	for i := range s.data.Len() {
		row, err := s.data.Slice(strconv.Itoa(i) + ":" + strconv.Itoa(i+1))
		if err != nil {
			return nil, err
		}
		stats, err := a.Evaluate(ctx, row, s.longest, s.all)
		if err != nil {
			return nil, err
		}
		rows = append(rows, stats)
	}
	return rows, nil
}

// mean is the loss of all rows' tokens.
func mean(rows []events.Eval) (loss float64, tokens int64) {
	for _, r := range rows {
		loss += r.Loss * float64(r.TargetTokens)
		tokens += r.TargetTokens
	}
	return loss / float64(tokens), tokens
}

// above is by how much the loss of all tokens is above that of base, and the standard error of that over rows, of which
// each counts by its tokens.
func above(rows, base []events.Eval) (difference, spread float64) {
	of, tokens := mean(rows)
	without, _ := mean(base)
	difference = of - without
	n := float64(len(rows))
	for i, r := range rows {
		share := float64(r.TargetTokens) / float64(tokens)
		deviation := share * (r.Loss - base[i].Loss - difference)
		spread += deviation * deviation
	}
	if n < 2 {
		return difference, math.NaN()
	}
	return difference, math.Sqrt(spread * n / (n - 1))
}

// losses measures the model in 16 bits, packed in NF4, and through all formats, of which the same one has to give what
// packed NF4 gave.
func (s subject) losses(ctx context.Context, dev *gpu.Device, formats []format) (list []lossRow, err error) {
	base, err := s.evaluate(ctx, dev, s.model, 0)
	if err != nil {
		return nil, err
	}
	row := func(rows []events.Eval, change lossRow) lossRow {
		loss, tokens := mean(rows)
		difference, spread := above(rows, base)
		change.Model, change.Data, change.Rows, change.Tokens = s.name, s.dataName, len(rows), tokens
		change.Loss, change.Above, change.Spread = nats(loss), nats(difference), nats(spread)
		fmt.Printf("%s, %s, %d, DQ %t: loss %.4f, %+.4f ± %.4f\n", s.name, change.Type, change.Block, change.Double, loss, difference, spread)
		return change
	}
	packed, err := s.evaluate(ctx, dev, s.model, 64)
	if err != nil {
		return nil, err
	}
	list = []lossRow{
		row(base, lossRow{Type: sixteenBit}), row(packed, lossRow{Type: typeNF4.Name, Block: 64, Double: true, Packed: true}),
	}
	for _, f := range formats {
		m, err := through(s.model, f)
		if err != nil {
			return nil, err
		}
		rows, err := s.evaluate(ctx, dev, m, 0)
		if err != nil {
			return nil, err
		}
		list = append(list, row(rows, lossRow{Type: f.Name, Block: f.block, Double: f.double}))
	}
	return list, nil
}
