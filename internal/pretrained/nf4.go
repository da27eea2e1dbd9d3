package pretrained

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/nf4"
)

// NF4Type is what Model.Type gives for a matrix in 4 bits.
const NF4Type = "NF4"

// NF4 is a matrix [N, K] that bitsandbytes quantized: blocks of its elements in the order of rows, which may run across
// them. Its methods may be called concurrently.
type NF4 struct {
	doublequant.QuantState
	codes, absmax, nested weight
}

// Double tells whether absmax is quantized too.
func (q *NF4) Double() bool { return q.NestedBlockSize != 0 }

// ReadCodes fills dst with packed codes, from those of element first on, which is even.
func (q *NF4) ReadCodes(first int, dst []byte) error { return q.codes.readBytes(dst, int64(first/2)) }

// ReadAbsmax reads that of all blocks: a state where there is double quantization, else the values.
func (q *NF4) ReadAbsmax() (state *doublequant.State, values []float32, err error) {
	return q.readAbsmax(0, nf4.Blocks(q.Elements(), q.BlockSize))
}

// readAbsmax reads that of blocks [first, end), where first begins a nested block.
func (q *NF4) readAbsmax(first, end int) (state *doublequant.State, values []float32, err error) {
	if !q.Double() {
		values = make([]float32, end-first)
		return nil, values, q.absmax.readFloats(first, values)
	}
	s := doublequant.State{Codes: make([]byte, end-first), Nested: make([]float32, doublequant.Nested(end-first)), Offset: q.NestedOffset}
	if err := q.absmax.readBytes(s.Codes, int64(first)); err != nil {
		return nil, nil, err
	}
	return &s, nil, q.nested.readFloats(first/doublequant.BlockSize, s.Nested)
}

// readRows decodes rows.
func (q *NF4) readRows(first, rows int, dst []float32) error {
	if len(dst) == 0 {
		return nil
	}
	cols := q.Shape[1]
	from, to := first*cols, (first+rows)*cols
	block, end := from/q.BlockSize, nf4.Blocks(to, q.BlockSize)
	group := block / doublequant.BlockSize * doublequant.BlockSize
	state, absmax, err := q.readAbsmax(group, end)
	if err != nil {
		return err
	}
	if state != nil {
		absmax = make([]float32, len(state.Codes))
		state.Dequantize(absmax)
	}
	start := block * q.BlockSize // of the first block, which a row may begin in
	codes, values := make([]byte, nf4.PackedLen(to-start)), make([]float32, to-start)
	if err := q.ReadCodes(start, codes); err != nil {
		return err
	}
	nf4.Dequantize(codes, absmax[block-group:], q.BlockSize, values)
	copy(dst, values[from-start:])
	return nil
}

// readFloats reads elements of F32 data from one on.
func (w weight) readFloats(first int, dst []float32) error {
	data := make([]byte, 4*len(dst))
	err := w.readBytes(data, 4*int64(first))
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return err
}

// Quantized is a matrix as the files hold it in 4 bits; nil where they do not.
func (m *Model) Quantized(name string) *NF4 {
	i, ok := m.index[name]
	if !ok {
		return nil
	}
	return m.weights[i].nf4
}

// foldQuantized makes one matrix of all tensors in which bitsandbytes stores it. Others of the model stay as they are.
func (m *Model) foldQuantized() error {
	m.Spec.Quantized = map[string]spec.Quantized{}
	folded := map[string]bool{}
	for i := range m.weights {
		name, is := strings.CutSuffix(m.weights[i].Name, doublequant.QuantStateSuffix)
		if !is {
			continue
		}
		parts, err := m.quantizedParts(name, m.weights[i])
		if err != nil {
			return err
		}
		for _, part := range parts[1:] {
			folded[part.Name] = true
		}
	}
	if len(folded) == 0 {
		return usererr.New(op, m.path, "quantization_config says NF4, and no tensor is").Of(usererr.Format).
			Hinted("fetch config.json and the weights from the same place")
	}
	m.weights = slices.DeleteFunc(m.weights, func(w weight) bool { return folded[w.Name] })
	clear(m.index)
	for i, w := range m.weights {
		m.index[w.Name] = i
	}
	for _, name := range []string{spec.Embedding, spec.Head} {
		if m.Quantized(name+".weight") != nil {
			m.Warnings = append(m.Warnings, name+".weight is NF4; it is decoded to bfloat16, as embedding and head are kept.")
		}
	}
	return nil
}

// quantizedParts checks all tensors of a matrix, the packed codes first, and makes these the matrix.
func (m *Model) quantizedParts(name string, state weight) ([]weight, error) {
	const most = 64 << 10
	data := make([]byte, min(state.size, most))
	if err := state.readBytes(data, 0); err != nil {
		return nil, err
	}
	q := &NF4{}
	var err error
	if q.QuantState, err = doublequant.ParseQuantState(data, state.file+", tensor "+state.Name); err != nil {
		return nil, err
	}
	if len(q.Shape) != 2 {
		return nil, usererr.New(op, state.file, "tensor %s has shape %v, a matrix was wanted", name, q.Shape).Of(usererr.Format)
	}
	n := q.Elements()
	blocks := nf4.Blocks(n, q.BlockSize)
	var parts []weight
	take := func(name, kind string, size int) (w weight) {
		i, ok := m.index[name]
		switch {
		case err != nil:
		case !ok:
			err = usererr.New(op, state.file, "tensor %s is missing, which %s wants", name, state.Name).Of(usererr.Format).
				Hinted("the weights are incomplete: fetch them again")
		case m.weights[i].size != int64(size) || kind != "" && m.weights[i].kind != kind:
			w = m.weights[i]
			err = usererr.New(op, w.file, "tensor %s has %d bytes of %s, a weight of %v in blocks of %d has others",
				name, w.size, w.kind, q.Shape, q.BlockSize).Of(usererr.Format)
		default:
			w = m.weights[i]
			parts = append(parts, w)
		}
		return w
	}
	check := func(name string, want []float32) {
		w, got := take(name, string(safetensors.F32), 4*len(want)), make([]float32, len(want))
		if err == nil {
			err = w.readFloats(0, got)
		}
		if err == nil && !slices.Equal(got, want) {
			err = usererr.New(op, w.file, "tensor %s holds other values than bitsandbytes' own", name).Of(usererr.Unsupported).
				Hinted("%s", takeOriginal)
		}
	}
	q.codes = take(name, "", nf4.PackedLen(n)) // quant_storage shows them as any type
	parts = append(parts, state)
	if q.Double() {
		q.absmax = take(name+doublequant.AbsmaxSuffix, string(safetensors.U8), blocks)
		q.nested = take(name+doublequant.NestedAbsmaxSuffix, string(safetensors.F32), 4*doublequant.Nested(blocks))
		check(name+doublequant.NestedQuantMapSuffix, doublequant.SignedMap[:])
	} else {
		q.absmax = take(name+doublequant.AbsmaxSuffix, string(safetensors.F32), 4*blocks)
	}
	check(name+doublequant.QuantMapSuffix, nf4.Codebook[:])
	if err != nil {
		return nil, err
	}
	m.Spec.Quantized[name] = spec.Quantized{BlockSize: q.BlockSize, Double: q.Double()}
	whole := &m.weights[m.index[name]]
	*whole = weight{
		Tensor: Tensor{name, q.Shape[0], q.Shape[1]}, file: q.codes.file, kind: NF4Type, nf4: q, readRows: q.readRows,
		stored: q.codes.stored, shape: q.Shape,
	}
	whole.readBytes, whole.size = together(parts)
	return parts, nil
}

// together reads the bytes of tensors as if they were one.
func together(parts []weight) (read func(dst []byte, at int64) error, size int64) {
	for _, p := range parts {
		size += p.size
	}
	return func(dst []byte, at int64) error {
		for _, p := range parts {
			if at >= p.size {
				at -= p.size
				continue
			}
			n := min(int64(len(dst)), p.size-at)
			if err := p.readBytes(dst[:n], at); err != nil {
				return err
			}
			dst, at = dst[n:], 0
		}
		return nil
	}, size
}

// noneQuantized refuses tensors of bitsandbytes where the configuration says nothing of them.
func (m *Model) noneQuantized() error {
	for _, w := range m.weights {
		if strings.Contains(w.Name, ".quant_state.bitsandbytes__") {
			return usererr.New(op, w.file, "tensor %s belongs to a quantized weight, config.json has no quantization_config", w.Name).
				Of(usererr.Format).Hinted("fetch config.json and the weights from the same place")
		}
	}
	return nil
}
