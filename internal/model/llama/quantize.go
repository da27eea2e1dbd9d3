package llama

import (
	"runtime"

	"golang.org/x/sync/errgroup"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/nf4"
	"qlora-wgpu/paging"
)

// quantizer makes a region's bytes of a model file's tensors, on all cores.
type quantizer struct {
	source    *pretrained.Model
	blockSize int
}

type linear struct {
	*lora.Linear
	hasBias bool
}

// vector is n values of the tensor, under the name that the region has for them.
type vector struct {
	weight, tensor string
	n              int
}

// chunkElements is about how many elements are read and quantized at a time: their float32 fit a core's second-level cache.
const chunkElements = 1 << 16

// fill puts linears and vectors into their places in the parts.
func (q quantizer) fill(layout *paging.Layout, parts [][]byte, linears []linear, vectors []vector) error {
	tensors := make([]*quantized, len(linears))
	var chunks []func(buffer []float32) error
	for i, l := range linears {
		if err := q.source.Expect(l.Name+".weight", l.Out, l.In); err != nil {
			return err
		}
		n := l.Out * l.In
		t := &quantized{q, l.Linear, make([]byte, nf4.PackedLen(n)), make([]float32, nf4.Blocks(n, q.blockSize))}
		tensors[i] = t
		rows := paging.RowStep(l.In, q.blockSize)
		rows *= max(1, chunkElements/(rows*l.In))
		for row := 0; row < l.Out; row += rows {
			chunks = append(chunks, func(buffer []float32) error { return t.quantize(row, min(rows, l.Out-row), buffer) })
		}
	}
	if err := onAllCores(chunks); err != nil {
		return err
	}
	var finish []func([]float32) error
	for i, l := range linears {
		finish = append(finish, func([]float32) error {
			var bias []float32
			if l.hasBias {
				var err error
				if bias, err = q.values(l.Name+".bias", l.Out); err != nil {
					return err
				}
			}
			layout.PutLinear(parts, l.Weight, tensors[i].packed, doublequant.Quantize(tensors[i].absmax), bias)
			return nil
		})
	}
	if err := onAllCores(finish); err != nil {
		return err
	}
	for _, v := range vectors {
		values, err := q.values(v.tensor+".weight", v.n)
		if err != nil {
			return err
		}
		layout.PutVector(parts, v.weight, values)
	}
	return nil
}

// values is a vector of the model file.
func (q quantizer) values(name string, n int) ([]float32, error) {
	if err := q.source.Expect(name, 1, n); err != nil {
		return nil, err
	}
	values := make([]float32, n)
	return values, q.source.ReadRows(name, 0, 1, values)
}

// quantized is a linear's weight in NF4, before its absmax are quantized too.
type quantized struct {
	quantizer
	linear *lora.Linear
	packed []byte
	absmax []float32
}

// quantize reads rows from the model file and puts them in their places; the rows begin at a whole block.
func (t *quantized) quantize(row, rows int, values []float32) error {
	name, k := t.linear.Name+".weight", t.linear.In
	if n := rows * k; n <= len(values) {
		values = values[:n]
	} else {
		values = make([]float32, n)
	}
	if err := t.source.ReadRows(name, row, rows, values); err != nil {
		return err
	}
	first, end := row*k, (row+rows)*k
	absmax := t.absmax[first/t.blockSize : nf4.Blocks(end, t.blockSize)]
	nf4.Quantize(values, t.blockSize, t.packed[first/2:nf4.PackedLen(end)], absmax)
	if nf4.FirstNonFinite(absmax) < 0 {
		return nil
	}
	i := nf4.FirstNonFinite(values)
	return usererr.New("quantize "+name, "", "element [%d,%d] is %v", row+i/k, i%k, values[i]).Of(usererr.Format).
		Hinted("the model file is damaged or was diverging when it was saved")
}

// onAllCores runs tasks, each with a buffer of chunkElements that no other one uses meanwhile. The error is that of the first task in order that failed.
func onAllCores(tasks []func(buffer []float32) error) error {
	failures := make([]error, len(tasks))
	next := make(chan int)
	var group errgroup.Group
	for range min(runtime.GOMAXPROCS(0), len(tasks)) {
		group.Go(func() error {
			buffer := make([]float32, chunkElements)
			for i := range next {
				failures[i] = tasks[i](buffer)
			}
			return nil
		})
	}
	for i := range tasks {
		next <- i
	}
	close(next)
	_ = group.Wait() // the failures say more
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}

// region is the section of a region.
func (q quantizer) region(to *paging.Handle, linears []linear, vectors []vector) paging.Section {
	layout := to.Layout()
	return paging.Section{
		Parts: layout.Parts,
		Make: func(emit func(data []byte) error) error {
			parts := layout.NewParts()
			if err := q.fill(layout, parts, linears, vectors); err != nil {
				return err
			}
			for _, part := range parts {
				if err := emit(part); err != nil {
					return err
				}
			}
			return nil
		},
		Place: func(part int, _ int64, data []byte) error { return to.Put(part, data) },
	}
}

// table is the section of an embedding or a head: rows of a tensor in bfloat16, and zeros up to a multiple of 4 rows.
func (q quantizer) table(to *paging.Table, name string, rows int) paging.Section {
	return paging.Section{
		Parts: []int64{to.Bytes()},
		Make: func(emit func(data []byte) error) error {
			if err := q.source.Expect(name, rows, to.Cols); err != nil {
				return err
			}
			step := max(1, chunkElements/to.Cols)
			piece := 16 * step // rows emitted at a time
			for first := 0; first < to.Rows; first += piece {
				data := make([]byte, gpu.BF16.Size(min(piece, to.Rows-first)*to.Cols))
				var chunks []func([]float32) error
				for row := first; row < min(first+piece, rows); row += step {
					n := min(step, first+piece-row, rows-row)
					chunks = append(chunks, func(buffer []float32) error {
						if n*to.Cols > len(buffer) {
							buffer = make([]float32, n*to.Cols)
						}
						values := buffer[:n*to.Cols]
						err := q.source.ReadRows(name, row, n, values)
						gpu.PutBFloat16(data[gpu.BF16.Size((row-first)*to.Cols):], values)
						return err
					})
				}
				if err := onAllCores(chunks); err != nil {
					return err
				}
				if err := emit(data); err != nil {
					return err
				}
			}
			return nil
		},
		Place: func(_ int, at int64, data []byte) error { return to.Put(at, data) },
	}
}
