package kernels

import (
	"slices"

	"qlora-wgpu/gpu"
)

// arguments are what an operation with variants is called with.
type arguments interface {
	count() int         // tokens
	class() string      // of shapes, under which the choice of a variant is recorded
	storage() gpu.DType // of the matrix
}

// variant adds to a Variant what it does with operands.
type variant[A arguments] struct {
	Variant
	// fits reports whether it can run these, nil: all; where it does not fit, or the matrix is of another storage type
	// than its own, the variant named otherwise runs.
	fits      func(a A, dev *gpu.Device, v *Variant) bool
	otherwise string
	run       func(a A, rec *gpu.Recorder, v *Variant)
}

// forFew is the variant as one that is hopeless at many tokens.
func (v variant[A]) forFew() variant[A] {
	v.worth = upTo(fewTokens)
	return v
}

// hasLarger is the variant as one of whose kind there is a larger tile.
func (v variant[A]) hasLarger() variant[A] {
	v.outgrown = true
	return v
}

// orElse is the variant with what it asks of operands, and the one that runs where that is not so.
func (v variant[A]) orElse(fits func(a A, dev *gpu.Device, v *Variant) bool, otherwise string) variant[A] {
	v.fits, v.otherwise = fits, otherwise
	return v
}

// takesAll reports whether it can run whatever the operation takes.
func (v *variant[A]) takesAll() bool { return v.fits == nil && v.storage == nil }

// A rule names the variant for some devices, tokens and operands, before anything was measured.
type rule[A arguments] struct {
	on     kinds // 0: any
	tokens span
	where  func(a A, dev *gpu.Device) bool // nil: anywhere
	take   string
}

// An operation is the table of its variants, and the rules by which one is chosen: the first that holds.
type operation[A arguments] struct {
	name     string
	of       Part
	variants []variant[A]
	rules    []rule[A]
	// sumsRows: the sums are over the matrix' rows and give its columns, as in a product back to the input.
	sumsRows bool
	// tuned: the autotune measures it. An untuned operation keeps to its rules.
	tuned bool
	// operands are those of a cell, for measuring.
	operands func(m *maker, c Cell) A
}

// newOperation panics on a table that names what it does not have.
func newOperation[A arguments](o operation[A]) *operation[A] {
	for i := range o.variants {
		v := &o.variants[i]
		require(o.named(v.Name) == v && v.Tolerance > 0 && v.made != 0 && v.parts > 0, o.name, "variant %q", v.Name)
		last := v
		for range o.variants {
			if last != nil && !last.takesAll() {
				last = o.named(last.otherwise)
			}
		}
		require(last != nil && last.takesAll(), o.name, "%s ends in no variant that takes all operands", v.Name)
		for _, s := range v.shaders {
			s.needs = v.Needs
		}
	}
	for i, r := range o.rules {
		require(o.named(r.take) != nil, o.name, "rule %d takes %q", i, r.take)
	}
	last := o.rules[len(o.rules)-1]
	require(last.on == 0 && last.tokens == span{} && last.where == nil, o.name, "the last rule is not for all")
	return &o
}

func (o *operation[A]) named(name string) *variant[A] {
	for i := range o.variants {
		if o.variants[i].Name == name {
			return &o.variants[i]
		}
	}
	return nil
}

// rule is the name of the variant for operands of which nothing was measured.
func (o *operation[A]) rule(dev *gpu.Device, a A) string {
	kind, tokens := kindOf(dev), a.count()
	for i := range o.rules {
		r := &o.rules[i]
		if (r.on == 0 || r.on&kind != 0) && r.tokens.holds(tokens) && (r.where == nil || r.where(a, dev)) {
			return r.take
		}
	}
	panic("kernels: " + o.name + " has no last rule")
}

// choose is the forced variant, the recorded choice or the rules', or what runs where that does not fit.
func (o *operation[A]) choose(dev *gpu.Device, a A) *variant[A] {
	fallback := o.rule(dev, a)
	v := o.named(dev.Variants.Choose(o.name, a.class(), fallback))
	if v == nil || !dev.Has(v.Needs) {
		// A table of another version may name a variant that is gone, one of another device what does not run here.
		v = o.named(fallback)
	}
	for !o.takes(v, dev, a) {
		v = o.named(v.otherwise)
	}
	return v
}

// takes reports whether a variant can run these operands.
func (o *operation[A]) takes(v *variant[A], dev *gpu.Device, a A) bool {
	return (v.storage == nil || slices.Contains(v.storage, a.storage())) && (v.fits == nil || v.fits(a, dev, &v.Variant))
}

// run records the operation.
func (o *operation[A]) run(rec *gpu.Recorder, a A) {
	v := o.choose(rec.Device(), a)
	v.run(a, rec, &v.Variant)
}

// candidates are the variants worth measuring for a cell: at a few tokens all that the device can run and that are not
// cut into parts in vain, at more those that are made for its kind.
func (o *operation[A]) candidates(dev *gpu.Device, c Cell) (names []string) {
	kind := kindOf(dev)
	for i := range o.variants {
		v := &o.variants[i].Variant
		switch {
		case !dev.Has(v.Needs), !v.worth.holds(c.T):
		case c.T > fewTokens && (v.made&kind == 0 || v.outgrown):
		case v.parts > 1 && (v.made&kind == 0 || !o.cuts(v, dev, c)):
		default:
			names = append(names, v.Name)
		}
	}
	return names
}

// cuts reports whether a variant in parts cuts the sums of a product of this shape.
func (o *operation[A]) cuts(v *Variant, dev *gpu.Device, c Cell) bool {
	sum, outputs := c.K, c.N
	if o.sumsRows {
		sum, outputs = c.N, c.K
	}
	parts, _ := v.cut(dev, sum, gpu.F32.Size(c.T*outputs))
	return parts > 1
}

func (o *operation[A]) title() string { return o.name }

func (o *operation[A]) part() Part { return o.of }

func (o *operation[A]) measured() bool { return o.tuned }

func (o *operation[A]) list() (all []*Variant) {
	for i := range o.variants {
		all = append(all, &o.variants[i].Variant)
	}
	return all
}

// record makes operands, and gives what records the operation with them: nil where they do not fit the device. release
// frees the operands, also after an error.
func (o *operation[A]) record(dev *gpu.Device, c Cell) (record func(rec *gpu.Recorder), release func(), err error) {
	m := &maker{dev: dev}
	a := o.operands(m, c)
	if m.err != nil || m.tooBig {
		return nil, m.release, m.err
	}
	return func(rec *gpu.Recorder) { o.run(rec, a) }, m.release, nil
}

// fallback is what the rules say of a cell.
func (o *operation[A]) fallback(dev *gpu.Device, c Cell) string {
	twin := dev.Twin()
	return o.rule(twin, o.operands(&maker{dev: twin}, c))
}
