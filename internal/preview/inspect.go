package preview

import (
	"math"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/nf4"
)

// Inspection shows what QLoRA keeps of one block of a frozen weight.
type Inspection struct {
	Tensor     string                     `json:"tensor"`
	Rows       int                        `json:"rows"`
	Cols       int                        `json:"cols"`
	Block      int                        `json:"block"`
	Blocks     int                        `json:"blocks"`
	Values     []float32                  `json:"values"` // of the block, as published [block size]
	Codes      []int                      `json:"codes"`  // their 4-bit codes [block size]
	Codebook   [len(nf4.Codebook)]float32 `json:"codebook"`
	Counts     [len(nf4.Codebook)]int     `json:"counts"`      // of each code in the whole tensor
	Absmax     float32                    `json:"absmax"`      // the block's largest magnitude
	AbsmaxCode int                        `json:"absmax_code"` // its 8-bit code
	Nested     float32                    `json:"nested"`      // the scale of 256 such codes
	Offset     float32                    `json:"offset"`      // the tensor's mean absmax
	// what the code decodes to, by which the block is scaled
	StoredAbsmax float32 `json:"stored_absmax"`
	Bits         float64 `json:"bits"` // of storage a weight, all levels together
	// root mean square of the block's rounding, as a part of its values'
	Error float64 `json:"error"`
}

// inspectElements bounds what is held of the tensor at once.
const inspectElements = 1 << 20

// Inspect quantizes one tensor of the model as loading does, and shows one of its blocks. One that the files hold in 4
// bits is shown as it is, in their blocks.
func Inspect(source *pretrained.Model, tensor string, blockSize, block int) (*Inspection, error) {
	t, ok := source.Lookup(tensor)
	n := t.Rows * t.Cols
	if !ok || n == 0 || t.Cols > inspectElements {
		return nil, usererr.New("inspect weight", "", "the model has no tensor %q that could be shown", tensor)
	}
	held := source.Quantized(tensor)
	if held != nil {
		blockSize = held.BlockSize
	}
	if !nf4.ValidBlockSize(blockSize) || block < 0 || block >= nf4.Blocks(n, blockSize) || t.Cols%2 != 0 || n%blockSize != 0 {
		return nil, usererr.New("inspect weight", "", "%s has no block %d of %d weights", tensor, block, blockSize)
	}
	i := &Inspection{Tensor: tensor, Rows: t.Rows, Cols: t.Cols, Block: block, Blocks: nf4.Blocks(n, blockSize), Codebook: nf4.Codebook}
	packed, absmax := make([]byte, nf4.PackedLen(n)), make([]float32, i.Blocks)
	i.Values = make([]float32, blockSize)
	step := 1 // rows that hold whole blocks
	for step*t.Cols%blockSize != 0 {
		step *= 2
	}
	step *= max(1, inspectElements/(step*t.Cols))
	values := make([]float32, min(step, t.Rows)*t.Cols)
	for row := 0; row < t.Rows; row += step {
		rows := min(step, t.Rows-row)
		first, end := row*t.Cols, (row+rows)*t.Cols
		if err := source.ReadRows(tensor, row, rows, values[:end-first]); err != nil {
			return nil, err
		}
		nf4.Quantize(values[:end-first], blockSize, packed[first/2:end/2], absmax[first/blockSize:end/blockSize])
		if at := block * blockSize; at >= first && at < end {
			copy(i.Values, values[at-first:])
		}
	}
	state := doublequant.Quantize(absmax)
	stored := make([]float32, len(absmax))
	state.Dequantize(stored)
	if held != nil {
		var err error
		if state, stored, err = asHeld(held, packed); err != nil {
			return nil, err
		}
		absmax = stored
	}
	for _, pair := range packed {
		i.Counts[pair>>4]++
		i.Counts[pair&15]++
	}
	for _, pair := range packed[block*blockSize/2 : (block+1)*blockSize/2] {
		i.Codes = append(i.Codes, int(pair>>4), int(pair&15))
	}
	i.Absmax, i.StoredAbsmax = absmax[block], stored[block]
	i.Bits = 4 + 32/float64(blockSize)
	if state.Codes != nil {
		i.AbsmaxCode, i.Nested, i.Offset = int(state.Codes[block]), state.Nested[block/doublequant.BlockSize], state.Offset
		i.Bits = 4 + (8+32.0/doublequant.BlockSize)/float64(blockSize)
	}
	var wrong, all float64
	for k, v := range i.Values {
		d := float64(nf4.Codebook[i.Codes[k]]*i.StoredAbsmax - v)
		wrong, all = wrong+d*d, all+float64(v)*float64(v)
	}
	if all > 0 {
		i.Error = math.Sqrt(wrong / all)
	}
	return i, nil
}

// asHeld reads a matrix that the files hold in 4 bits: its codes, and its absmax with their double quantization, where
// there is one.
func asHeld(held *pretrained.NF4, packed []byte) (state doublequant.State, absmax []float32, err error) {
	if err := held.ReadCodes(0, packed); err != nil {
		return state, nil, err
	}
	quantized, absmax, err := held.ReadAbsmax()
	if err != nil || quantized == nil {
		return state, absmax, err
	}
	absmax = make([]float32, len(quantized.Codes))
	quantized.Dequantize(absmax)
	return *quantized, absmax, nil
}
