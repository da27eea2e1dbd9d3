package opcases

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

// Result is what one run of a case showed.
type Result struct {
	Case    Case
	Variant string
	// Used is the largest share of an output's allowance that was used: above 1 the case failed.
	Used   float64
	Detail string // of the worst output: index, both values
	Err    error
}

// OK reports whether the kernel computed what it should.
func (r Result) OK() bool { return r.Err == nil && r.Used <= 1 }

// Trial is a case whose inputs, and what it must compute of them, are made.
type Trial struct {
	c       Case
	variant string
	bench   *Bench
}

// Prepare makes the inputs of a case for one variant ("" = the one chosen) on a device.
func Prepare(dev *gpu.Device, c Case, variant string) *Trial {
	t := &Trial{c, variant, &Bench{Dev: dev, rng: rand.New(rand.NewPCG(7, uint64(len(c.Shape))))}}
	if c.varies() {
		t.bench.Tolerance = kernels.Tolerance(dev, c.Op, variant)
	}
	t.forced(func() { c.Run(t.bench) })
	return t
}

// Release frees the inputs and outputs.
func (t *Trial) Release() {
	for _, tensor := range t.bench.buffers {
		tensor.Release()
	}
}

// forced runs f while the trial's variant is the one for every shape.
func (t *Trial) forced(f func()) {
	if t.variant != "" {
		t.bench.Dev.Variants.Force(t.c.Op, t.variant)
		defer t.bench.Dev.Variants.Force(t.c.Op, "")
	}
	f()
}

// Kernels is what the trial will dispatch.
func (t *Trial) Kernels() []gpu.KernelSpec {
	t.bench.Rec = t.bench.Dev.DryRecord(t.c.Op + " " + t.c.Shape)
	t.forced(t.bench.record)
	return t.bench.Rec.Kernels()
}

// Run runs the case, twice.
func (t *Trial) Run(ctx context.Context) (r Result) {
	r = Result{Case: t.c, Variant: t.variant}
	b := t.bench
	var first [][]byte
	for replay := range 2 {
		b.Rec = b.Dev.Record(t.c.Op + " " + t.c.Shape)
		for _, u := range b.uploads {
			at := 0
			for _, s := range u.tensor.Shards {
				n := int(min(s.Range.Size, int64(len(u.data)-at)))
				b.Rec.Upload(s.Range, u.data[at:at+n])
				at += n
			}
		}
		t.forced(b.record)
		if r.Err = b.Rec.Submit(); r.Err != nil {
			return r
		}
		for i, o := range b.outputs {
			data, err := b.Dev.Read(ctx, o.guard)
			if err != nil {
				r.Err = err
				return r
			}
			if replay == 0 {
				first = append(first, data)
			} else if string(first[i]) != string(data) {
				r.Err = fmt.Errorf("%s: a second run gave other bytes", o.tensor.Name)
				return r
			}
		}
	}
	for i, o := range b.outputs {
		used, detail, err := o.compare(first[i])
		if err != nil {
			r.Err = err
			return r
		}
		if used >= r.Used {
			r.Used, r.Detail = used, detail
		}
	}
	return r
}

// Run prepares and runs one case with one variant ("" = the one chosen) on a device.
func Run(ctx context.Context, dev *gpu.Device, c Case, variant string) Result {
	t := Prepare(dev, c, variant)
	defer t.Release()
	return t.Run(ctx)
}

func (o output) compare(data []byte) (used float64, detail string, err error) {
	at := func(i int) float64 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
	}
	n := o.tensor.Rows * o.tensor.Cols
	for i := n; i < n+guardElements; i++ {
		if float32(at(i)) != sentinel {
			return 0, "", fmt.Errorf("%s: written %d elements behind its end", o.tensor.Name, i-n+1)
		}
	}
	cols := o.tensor.Cols
	if o.decode != nil {
		values := o.decode(data)
		n, cols, at = len(values), len(values), func(i int) float64 { return values[i] }
	}
	if len(o.want) != n {
		panic(fmt.Sprintf("opcases: %d wanted values for %s of %d×%d", len(o.want), o.tensor.Name, o.tensor.Rows, o.tensor.Cols))
	}
	var diff, norm, worst float64
	worstAt := 0
	for i, want := range o.want {
		d := at(i) - want
		if math.IsNaN(d) || math.IsInf(d, 0) {
			return 0, "", fmt.Errorf("%s[%d,%d] is %v, want %.9g", o.tensor.Name, i/cols, i%cols, at(i), want)
		}
		diff, norm = diff+d*d, norm+want*want
		if math.Abs(d) > worst {
			worst, worstAt = math.Abs(d), i
		}
	}
	if norm == 0 {
		norm = 1 // an all-zero expectation is compared absolutely
	}
	nmse := diff / norm
	detail = fmt.Sprintf("%s nmse %.2g of %.0g; worst [%d,%d] got %.9g want %.9g", o.tensor.Name, nmse, o.allowance,
		worstAt/cols, worstAt%cols, at(worstAt), o.want[worstAt])
	return nmse / o.allowance, detail, nil
}
