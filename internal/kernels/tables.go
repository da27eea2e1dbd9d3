package kernels

import (
	"fmt"

	"qlora-wgpu/gpu"
)

// table is an operation whatever its arguments.
type table interface {
	title() string
	part() Part
	list() []*Variant
	measured() bool
	candidates(dev *gpu.Device, c Cell) []string
	fallback(dev *gpu.Device, c Cell) string
	record(dev *gpu.Device, c Cell) (record func(rec *gpu.Recorder), release func(), err error)
}

// tables are the operations with variants, the heaviest of a training step first.
var tables = []table{
	matmulNF4Forward, matmulNF4Backward, matmulForward, matmulBackward, matmulGradient, attentionForward, attentionBackward,
}

// A Part is what of a model an operation computes.
type Part int

const (
	OfLinears   Part = iota // the frozen ones of a layer
	OfHead                  // the table that makes logits, and frozen linears in 16 bits
	OfAdapters              // LoRA's own
	OfAttention             // between queries, keys and values
)

// Operations names those of a part, the heaviest of a training step first.
func Operations(p Part) (names []string) {
	for _, t := range tables {
		if t.part() == p {
			names = append(names, t.title())
		}
	}
	return names
}

// find is the table of an operation, nil where it has no variants.
func find(op string) table {
	for _, t := range tables {
		if t.title() == op {
			return t
		}
	}
	return nil
}

// Variants are the variants of an operation by its name in the variant table; none where there is nothing to choose.
func Variants(op string) []*Variant {
	if t := find(op); t != nil {
		return t.list()
	}
	return nil
}

// VariantsOn names those that the device can run.
func VariantsOn(dev *gpu.Device, op string) (names []string) {
	for _, v := range Variants(op) {
		if dev.Has(v.Needs) {
			names = append(names, v.Name)
		}
	}
	return names
}

// Tolerance is that of a variant; with an empty name that of whichever the device chooses: the largest that it has.
func Tolerance(dev *gpu.Device, op, variant string) (tolerance float64) {
	for _, v := range Variants(op) {
		if v.Name == variant {
			return v.Tolerance
		}
		if variant == "" && dev.Has(v.Needs) {
			tolerance = max(tolerance, v.Tolerance)
		}
	}
	if tolerance == 0 {
		panic(fmt.Sprintf("kernels: %s has no variant %q", op, variant))
	}
	return tolerance
}

// tokenClasses are the token counts that the autotune distinguishes; a micro-batch falls into the smallest class that
// holds it.
var tokenClasses = [...]int{1, 8, 32, 128, 512, 2048}

func tokenClass(tokens int) int {
	for _, c := range tokenClasses {
		if tokens <= c {
			return c
		}
	}
	return tokenClasses[len(tokenClasses)-1]
}

// matmulClass is the class of a product's shapes.
func matmulClass(tokens, n, k int) string {
	return fmt.Sprintf("T%d N%d K%d", tokenClass(tokens), n, k)
}
