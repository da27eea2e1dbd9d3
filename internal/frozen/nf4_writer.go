package frozen

import (
	"bytes"
	"fmt"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/nf4"
)

// QuantizedWriter is the Writer of a format that takes weights as the model's files hold them in it, without a value
// between: Codes of all rows, then Absmax, then Finish.
type QuantizedWriter interface {
	Writer
	// Codes takes the packed codes of the rows from row on, under the terms of Rows.
	Codes(row int, packed []byte)
	// Absmax takes those of all blocks: a state with double quantization, without it the values. Others than the
	// format's are a bug and panic.
	Absmax(state *doublequant.State, values []float32)
}

type nf4Writer struct {
	format nf4Format
	weight *Weight
	parts  [][]byte
	absmax []float32          // of all blocks, before they are quantized too
	state  *doublequant.State // of all blocks, where that is known already
}

func (w *nf4Writer) Rows(row int, values []float32) (notFinite int) {
	notFinite, done, block, k := -1, 0, w.format.block, w.weight.K
	w.weight.each(row, values, func(s *Shard, row int, values []float32) {
		first := row * k
		absmax := w.absmax[first/block : nf4.Blocks(first+len(values), block)]
		nf4.Quantize(values, block, w.packed(s, row)[:len(values)/2], absmax)
		if notFinite < 0 && nf4.FirstNonFinite(absmax) >= 0 {
			notFinite = done + nf4.FirstNonFinite(values)
		}
		done += len(values)
	})
	return notFinite
}

// packed is where a shard's codes are from row on.
func (w *nf4Writer) packed(s *Shard, row int) []byte {
	return w.parts[s.Part][int(s.Pieces[nf4Packed])*wordBytes+(row-s.Row)*w.weight.K/2:]
}

func (w *nf4Writer) Codes(row int, packed []byte) {
	for i := range w.weight.Shards {
		s := &w.weight.Shards[i]
		if row >= s.Row+s.Rows {
			continue
		}
		n := min(len(packed), (s.Row+s.Rows-row)*w.weight.K/2)
		copy(w.packed(s, row), packed[:n])
		row, packed = s.Row+s.Rows, packed[n:]
	}
}

func (w *nf4Writer) Absmax(state *doublequant.State, values []float32) {
	n := len(values)
	if state != nil {
		n = len(state.Codes)
	}
	if w.format.double() != (state != nil) || n != len(w.absmax) {
		panic(fmt.Sprintf("frozen: absmax of %s, %v, in another form", w.weight.Name, w.format))
	}
	if w.state = state; state == nil {
		w.absmax = values
	}
}

func (w *nf4Writer) Finish(bias []float32) {
	if w.format.double() && w.state == nil {
		state := doublequant.Quantize(w.absmax)
		w.state = &state
	} else if w.state == nil {
		// 255 is the code of 1, and every block is a group.
		w.state = &doublequant.State{Codes: bytes.Repeat([]byte{255}, len(w.absmax)), Nested: w.absmax}
	}
	for i := range w.weight.Shards {
		s := &w.weight.Shards[i]
		part, k, block := w.parts[s.Part], w.weight.K, w.format.block
		first, end := s.Row*k/block, nf4.Blocks((s.Row+s.Rows)*k, block)
		copy(part[int(s.Pieces[nf4Codes])*wordBytes:], w.state.Codes[first:end])
		PutFloats(part, s.Pieces[nf4Nested], w.state.Nested[first/w.format.group:w.format.groups(end)])
		PutFloats(part, w.format.offsetWord(s, k), []float32{w.state.Offset})
		s.Parameter = w.state.Offset
	}
	w.weight.finishBias(w.parts, bias)
}
