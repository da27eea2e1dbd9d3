package model

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/nf4"
	"qlora-wgpu/paging"
)

// quantizer makes a region's bytes of a model file's tensors, on all cores.
type quantizer struct {
	source *pretrained.Model
	format frozen.Formats
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

const (
	// chunkElements is about how many elements are read and quantized at a time: their float32 fit a core's first-level
	// cache.
	chunkElements = 1 << 13
	// bufferElements is how many a buffer holds, since there are longer rows.
	bufferElements = 1 << 16
)

// groupBytes is about how many bytes of a region are made at a time: enough to keep all cores busy, and little
// to hold.
const groupBytes = 4 << 20

// group is how many of the linears are made next.
func (q quantizer) group(linears []linear) (n int) {
	for size := int64(0); n < len(linears); n++ {
		size += q.format.Of(linears[n].Name).Bytes(linears[n].Out, linears[n].In)
		if n > 0 && size > groupBytes {
			break
		}
	}
	return n
}

// fill puts linears into their places in the parts, which are there.
func (q quantizer) fill(layout *paging.Layout, parts [][]byte, linears []linear) error {
	var chunks, finish []func(buffer []float32) error
	for _, l := range linears {
		if err := q.source.Expect(l.Name+".weight", l.Out, l.In); err != nil {
			return err
		}
		w := layout.Writer(parts, l.Weight)
		most := q.format.Of(l.Name).Together(l.In)
		most *= max(1, chunkElements/(most*l.In))
		stored := q.source.Quantized(l.Name + ".weight")
		for row := 0; row < l.Out; row += most {
			rows := min(most, l.Out-row)
			chunks = append(chunks, func(buffer []float32) error {
				if stored != nil {
					return carryCodes(w, stored, row, rows, l.In)
				}
				return q.write(w, l, row, rows, buffer)
			})
		}
		finish = append(finish, func([]float32) error {
			var bias []float32
			if l.hasBias {
				var err error
				if bias, err = q.values(l.Name+".bias", l.Out); err != nil {
					return err
				}
			}
			if stored != nil {
				if err := carryAbsmax(w, stored, l.Name+".weight"); err != nil {
					return err
				}
			}
			w.Finish(bias)
			return nil
		})
	}
	if err := onAllCores(chunks); err != nil {
		return err
	}
	return onAllCores(finish)
}

// values is a vector of the model file.
func (q quantizer) values(name string, n int) ([]float32, error) {
	if err := q.source.Expect(name, 1, n); err != nil {
		return nil, err
	}
	values := make([]float32, n)
	if err := q.source.ReadRows(name, 0, 1, values); err != nil {
		return nil, err
	}
	if i := nf4.FirstNonFinite(values); i >= 0 {
		return nil, notFinite(name, fmt.Sprintf("element [%d]", i), values[i])
	}
	return values, nil
}

// notFinite is the error about a weight that would make every loss one.
func notFinite(name, place string, value float32) error {
	return usererr.New("load "+name, "", "%s is %v", place, value).Of(usererr.Format).
		Hinted("the model file is damaged or was diverging when it was saved")
}

// write reads rows of a linear from the model file and puts them in their places.
func (q quantizer) write(w frozen.Writer, l linear, row, rows int, values []float32) error {
	name, k := l.Name+".weight", l.In
	if n := rows * k; n <= len(values) {
		values = values[:n]
	} else {
		values = make([]float32, n)
	}
	if err := q.source.ReadRows(name, row, rows, values); err != nil {
		return err
	}
	i := w.Rows(row, values)
	if i < 0 {
		return nil
	}
	return notFinite(name, fmt.Sprintf("element [%d,%d]", row+i/k, i%k), values[i])
}

var buffers = sync.Pool{New: func() any { return new([bufferElements]float32) }}

// onAllCores runs tasks, each with a buffer of bufferElements that no other one uses meanwhile. The error is that of
// the first task in order that failed.
func onAllCores(tasks []func(buffer []float32) error) error {
	failures := make([]error, len(tasks))
	var next atomic.Int64
	var group errgroup.Group
	for range min(runtime.GOMAXPROCS(0), len(tasks)) {
		group.Go(func() error {
			buffer := buffers.Get().(*[bufferElements]float32)
			defer buffers.Put(buffer)
			for i := next.Add(1) - 1; int(i) < len(tasks); i = next.Add(1) - 1 {
				failures[i] = tasks[i](buffer[:])
			}
			return nil
		})
	}
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
		Make: func(ctx context.Context, emit func(data []byte) error) error {
			return q.build(ctx, layout, linears, vectors, emit)
		},
		Place: func(part int, _ int64, data []byte) error { return to.Put(part, data) },
	}
}

// build makes a region's parts and hands each over as soon as nothing is missing in it. Linears come before vectors in
// a layout.
func (q quantizer) build(
	ctx context.Context, layout *paging.Layout, linears []linear, vectors []vector, emit func(data []byte) error,
) error {
	parts := make([][]byte, len(layout.Parts))
	need := func(name string) {
		for _, part := range layout.PartsOf(name) {
			if parts[part] == nil {
				parts[part] = layout.NewPart(part)
			}
		}
	}
	done := 0
	complete := func(end int) error {
		for ; done < end; done++ {
			if err := emit(parts[done]); err != nil {
				return err
			}
			parts[done] = nil
		}
		return nil
	}
	for len(linears) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		next := linears[:q.group(linears)]
		linears = linears[len(next):]
		if err := complete(layout.PartsOf(next[0].Weight)[0]); err != nil {
			return err
		}
		for _, l := range next {
			need(l.Weight)
		}
		if err := q.fill(layout, parts, next); err != nil {
			return err
		}
	}
	for _, v := range vectors {
		need(v.weight)
		values, err := q.values(v.tensor+".weight", v.n)
		if err != nil {
			return err
		}
		layout.PutVector(parts, v.weight, values)
	}
	return complete(len(parts))
}

// table is the section of an embedding or a head: rows of a tensor in bfloat16, and zeros up to a multiple of 4 rows.
func (q quantizer) table(to *paging.Table, name string, rows int) paging.Section {
	return paging.Section{
		Parts: []int64{to.Bytes()},
		Make: func(_ context.Context, emit func(data []byte) error) error { // of pieces, before each of which emit looks
			if err := q.source.Expect(name, rows, to.Cols); err != nil {
				return err
			}
			step := max(1, chunkElements/to.Cols)
			piece := 128 * step // rows emitted at a time
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
