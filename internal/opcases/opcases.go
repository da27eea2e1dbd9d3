// Package opcases holds, for every operation, the shapes it is tested at, the comparison with internal/reference and the tolerance with
// its reason. The tests, `qlora-wgpu check` and the page's self-check all run these cases, for every variant.
//
// A case runs its kernel twice on the same inputs and asks for identical bytes, looks at the sentinels behind every output, and compares
// each output with the float64 reference by NMSE = sum((got-want)²)/sum(want²).
package opcases

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

// Case is one operation at one shape.
type Case struct {
	Op    string // stem of the kernel: "rms_norm_forward"
	Shape string // "T=37 C=576"
	// Tune names the entry in the variant table that selects between variants, empty where there is one variant; Variants lists them.
	Tune     string
	Variants []string
	// Run records the operation on inputs of its own making and declares the outputs with what they must be.
	Run func(b *Bench)
}

// On lists the case's variants that the device can run, or the empty one where there is nothing to choose.
func (c Case) On(dev *gpu.Device) []string {
	if c.Tune == "" {
		return []string{""}
	}
	return kernels.VariantsOn(dev, c.Tune)
}

// Bench is what a case works with: seeded inputs, guarded outputs, the recorder.
type Bench struct {
	Dev *gpu.Device
	Rec *gpu.Recorder

	rng     *rand.Rand
	buffers []*gpu.Tensor
	outputs []output
	uploads []upload
	record  func()
}

type output struct {
	tensor    *gpu.Tensor // shape compared
	want      []float64
	allowance float64
	guard     gpu.Range // sentinels behind the tensor
	// decode makes the compared values of the tensor's bytes; nil: they are float32, one for each of want.
	decode func(data []byte) []float64
}

type upload struct {
	tensor *gpu.Tensor
	data   []byte
}

const (
	guardElements = 64
	sentinel      = float32(-12345.678)
)

// Values are n seeded numbers from N(0, std), already rounded to float32.
func (b *Bench) Values(n int, std float64) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(b.rng.NormFloat64() * std)
	}
	return out
}

// Intn is a seeded number in [0, n).
func (b *Bench) Intn(n int) int { return b.rng.IntN(n) }

// Input makes a device tensor with these values; BF16 values must be representable.
func (b *Bench) Input(name string, dtype gpu.DType, rows, cols int, values []float32) *gpu.Tensor {
	t := b.tensor(name, dtype, rows, cols)
	data := gpu.Float32Bytes(values)
	if dtype == gpu.BF16 {
		data = gpu.BFloat16Bytes(values)
	}
	b.uploads = append(b.uploads, upload{t, data})
	return t
}

// InputU32 makes a [1, n] tensor of words.
func (b *Bench) InputU32(name string, values []uint32) *gpu.Tensor {
	t := b.tensor(name, gpu.U32, 1, len(values))
	b.uploads = append(b.uploads, upload{t, gpu.Uint32Bytes(values)})
	return t
}

// Scratch makes a tensor that the kernel writes and nobody compares.
func (b *Bench) Scratch(name string, rows, cols int) *gpu.Tensor {
	return b.Input(name, gpu.F32, rows, cols, make([]float32, rows*cols))
}

// Output makes a tensor that must hold want after the run, within the allowance (an NMSE). It starts from initial (for `+=`
// contracts) or, where initial is nil, from NaN, so that an element left unwritten is seen. Sentinels follow it.
func (b *Bench) Output(name string, rows, cols int, initial []float32, want []float64, allowance float64) *gpu.Tensor {
	n := rows * cols
	full := make([]float32, n+guardElements)
	for i := range full {
		switch {
		case i >= n:
			full[i] = sentinel
		case initial != nil:
			full[i] = initial[i]
		default:
			full[i] = float32(math.NaN())
		}
	}
	whole := b.Input(name, gpu.F32, 1, len(full), full)
	t := whole.View(rows, cols)
	b.outputs = append(b.outputs, output{tensor: t, want: want, allowance: allowance, guard: whole.Single()})
	return t
}

// OutputWords makes a U32 tensor that starts from initial, of which decode makes the values that are compared with want. Sentinels follow it.
func (b *Bench) OutputWords(name string, rows, cols int, initial []uint32, decode func(data []byte) []float64, want []float64, allowance float64) *gpu.Tensor {
	words := slices.Clone(initial)
	for range guardElements {
		words = append(words, math.Float32bits(sentinel))
	}
	whole := b.InputU32(name, words)
	t := whole.View(rows, cols)
	b.outputs = append(b.outputs, output{tensor: t, want: want, allowance: allowance, guard: whole.Single(), decode: decode})
	return t
}

func (b *Bench) tensor(name string, dtype gpu.DType, rows, cols int) *gpu.Tensor {
	t, err := b.Dev.NewUniformTensor(name, dtype, rows, cols)
	if err != nil {
		panic(err)
	}
	b.buffers = append(b.buffers, t)
	return t
}

// Record sets what is dispatched; it runs twice, each time from freshly written inputs and outputs.
func (b *Bench) Record(f func()) { b.record = f }

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
	if t.c.Tune != "" && t.variant != "" {
		t.bench.Dev.Variants.Force(t.c.Tune, t.variant)
		defer t.bench.Dev.Variants.Force(t.c.Tune, "")
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

// float64s widens.
func float64s(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

var registered []func() []Case

// register adds an operation's cases; each file of this package calls it once for its operation.
func register(cases func() []Case) bool {
	registered = append(registered, cases)
	return true
}

// All is every case of every operation.
func All() []Case {
	var all []Case
	for _, cases := range registered {
		all = append(all, cases()...)
	}
	return all
}

// OneOfEach is one case of every operation, the middle one of its list.
func OneOfEach() (some []Case) {
	byOp := map[string][]Case{}
	var order []string
	for _, c := range All() {
		if byOp[c.Op] == nil {
			order = append(order, c.Op)
		}
		byOp[c.Op] = append(byOp[c.Op], c)
	}
	for _, op := range order {
		some = append(some, byOp[op][len(byOp[op])/2])
	}
	return some
}
