package model

import (
	"strconv"

	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/nf4"
)

// carryCodes puts rows of a matrix that is quantized already in their places, as they are.
func carryCodes(w frozen.Writer, stored *pretrained.NF4, row, rows, k int) error {
	packed := make([]byte, rows*k/2)
	if err := stored.ReadCodes(row*k, packed); err != nil {
		return err
	}
	w.(frozen.QuantizedWriter).Codes(row, packed)
	return nil
}

// carryAbsmax puts what belongs to all rows in its place, as it is.
func carryAbsmax(w frozen.Writer, stored *pretrained.NF4, name string) error {
	state, values, err := stored.ReadAbsmax()
	if err != nil {
		return err
	}
	floats, what := values, "absmax"
	if state != nil {
		floats, what = state.Nested, "nested absmax"
	}
	if i := nf4.FirstNonFinite(floats); i >= 0 {
		return notFinite(name, what+" "+strconv.Itoa(i), floats[i])
	}
	w.(frozen.QuantizedWriter).Absmax(state, values)
	return nil
}
