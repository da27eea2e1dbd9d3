package kernels

import (
	"fmt"
	"slices"
	"strings"

	"qlora-wgpu/gpu"
)

// A variant is one way to run an operation: a shader with constants, and what one workgroup of it owns.
type variant struct {
	name            string
	shader          *op
	constants       map[string]uint32
	tokens, outputs int // of a workgroup's tile
	parts           int // of its sums, side by side; 1: they are not cut
}

// on reports whether the device can run it.
func (v variant) on(dev *gpu.Device) bool { return dev.Has(v.shader.needs) }

// tokenClasses are the token counts that the autotune distinguishes; a micro-batch falls into the smallest class that holds it.
var tokenClasses = []int{1, 8, 32, 128, 512, 2048}

func tokenClass(tokens int) int {
	for _, c := range tokenClasses {
		if tokens <= c {
			return c
		}
	}
	return tokenClasses[len(tokenClasses)-1]
}

// matmulClass is the shape class under which a choice of variant is recorded.
func matmulClass(tokens, n, k int) string {
	return fmt.Sprintf("T%d N%d K%d", tokenClass(tokens), n, k)
}

// pickVariant is the recorded choice, the forced one, or the fallback.
func pickVariant(rec *gpu.Recorder, op string, variants []variant, tokens, n, k int, fallback string) variant {
	name := rec.Device().Variants.Choose(op, matmulClass(tokens, n, k), fallback)
	for _, v := range variants {
		if v.name == name && v.on(rec.Device()) {
			return v
		}
	}
	// A table from another version may name a variant that is gone, one from another device a variant that does not run here.
	for _, v := range variants {
		if v.name == fallback {
			return v
		}
	}
	panic("kernels: " + op + " has no variant " + fallback)
}

// onCPU reports whether barrier-free variants are the better guess on this device, before anything was measured.
func onCPU(rec *gpu.Recorder) bool { return rec.Device().Info.Type == "cpu" }

// inBrowser reports whether the device is a browser's.
func inBrowser(rec *gpu.Recorder) bool { return rec.Device().Info.Backend == "browser" }

// uniformFallback is the fallback for CPU devices and a matrix of so many weights: activations read through uniform arrays, which a browser's software device does not gain from.
func uniformFallback(rec *gpu.Recorder, weights int) string {
	if inBrowser(rec) {
		return registersFallback(rec, weights)
	}
	return "uniform_32x2"
}

// subgroupName has the invocations of a workgroup, and the tile of each.
func subgroupName(lanes, t, n int) string { return fmt.Sprintf("subgroup_%dx%dx%d", lanes, t, n) }

// largeTileWeights is the matrix from which on a browser's software device gets a large tile, which it compiles for 1 to 6 seconds. On smaller ones no step gains by that.
const largeTileWeights = 1 << 18

// registersFallback is the tile in registers for CPU devices.
func registersFallback(rec *gpu.Recorder, weights int) string {
	if inBrowser(rec) && weights < largeTileWeights {
		return registersName(16, 1)
	}
	return registersName(16, 4)
}

func variantNames(variants []variant) (names []string) {
	for _, v := range variants {
		names = append(names, v.name)
	}
	return names
}

// variantsOf lists the variants of a product.
func variantsOf(op string) []variant {
	switch op {
	case "matmul_nf4_forward":
		return matmulNF4ForwardVariants
	case "matmul_nf4_backward":
		return matmulNF4BackwardVariants
	case "matmul_forward":
		return matmulForwardVariants
	case "matmul_backward":
		return matmulBackwardVariants
	case "matmul_gradient":
		return matmulGradientVariants
	}
	return nil
}

// Variants lists the variants of an operation that has several, by the name under which the variant table knows it.
func Variants(op string) []string {
	switch op {
	case "attention_forward":
		return attentionVariants(attentionForwardTiles)
	case "attention_backward":
		return attentionVariants(attentionBackwardTiles)
	}
	return variantNames(variantsOf(op))
}

// forFewTokens reports whether a product's variant is made for a few tokens, and hopeless at many.
func forFewTokens(name string) bool {
	return strings.HasPrefix(name, "registers_1x") || strings.HasPrefix(name, "registers_4x") || strings.HasPrefix(name, "vector_")
}

// forCPUs reports whether a variant is made for CPU devices. On a GPU it is several times slower than tiles in workgroup memory, and compiles long.
func forCPUs(name string) bool {
	return strings.HasPrefix(name, "uniform_") || strings.HasPrefix(name, "registers_")
}

// candidates are the variants of a product y [T, N] of x [T, K], or back, that are worth measuring on a device.
func candidates(dev *gpu.Device, op string, t, n, k int) []string {
	cpu := dev.Info.Type == "cpu"
	return slices.DeleteFunc(VariantsOn(dev, op), func(name string) bool {
		return t > 8 && (forFewTokens(name) || cpu && !forMeasuringOnCPU(op, name) || !cpu && forCPUs(name)) || inPartsOnly(name) && (cpu || !cuts(dev, op, name, t, n, k))
	})
}

// forMeasuringOnCPU reports whether a variant is worth measuring on a CPU device: the largest tile in registers and the largest through uniform arrays, since all that counts there
// is how many products a load serves, and what shares weights in a subgroup. The others are up to ten times slower, and each is seconds of compiling.
func forMeasuringOnCPU(op, name string) bool {
	kind, _, _ := strings.Cut(name, "_")
	if kind == "subgroup" {
		return true
	}
	size := func(v variant) int { return v.tokens * v.outputs }
	ofKind := slices.DeleteFunc(slices.Clone(variantsOf(op)), func(v variant) bool { return !strings.HasPrefix(v.name, kind+"_") })
	return forCPUs(name) && slices.MaxFunc(ofKind, func(a, b variant) int { return size(a) - size(b) }).name == name
}

// inPartsOnly reports whether a variant differs from another by the parts of its sums.
func inPartsOnly(name string) bool { return strings.Contains(name, "_parts_") }

// cuts reports whether such a variant cuts the sums of a product of this shape.
func cuts(dev *gpu.Device, op, name string, t, n, k int) bool {
	variants, sum, outputs := variantsOf(op), k, n
	if op == "matmul_nf4_backward" {
		sum, outputs = n, k
	}
	i := slices.IndexFunc(variants, func(v variant) bool { return v.name == name })
	parts, _ := variants[i].cut(dev, sum, gpu.F32.Size(t*outputs))
	return parts > 1
}

// VariantsOn lists those of Variants that the device can run.
func VariantsOn(dev *gpu.Device, op string) []string {
	return slices.DeleteFunc(Variants(op), func(name string) bool {
		for _, v := range slices.Concat(matmulNF4ForwardVariants, matmulNF4BackwardVariants) { // no other operation's need anything
			if v.name == name && !v.on(dev) {
				return true
			}
		}
		return false
	})
}
