package kernels_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/opcases"
	"qlora-wgpu/shaders"
)

// pass is what follows the operation in a shader's name.
var pass = regexp.MustCompile(`_(forward|backward|gradient|step|partial|final)(_.*)?$`)

// partOf are operations that share another one's files.
var partOf = map[string]string{"dequantize_nf4": "matmul_nf4", "unpack_bf16": "pack_bf16"}

// withoutReference are operations whose definition is no file of internal/reference, and why.
var withoutReference = map[string]string{
	"fill":        "a constant",
	"loss_sum":    "a sum, which the case writes down",
	"pack_chunks": "a copy",
	"pack_heads":  "a copy",
	"pack_tiles":  "a copy",
	"sum_parts":   "a sum, which the case writes down",
}

// TestPartners asks of every shader the wrapper, the cases and the reference of its operation, by the name of the file,
// and a case.
func TestPartners(t *testing.T) {
	cases := map[string]bool{}
	for _, c := range opcases.All() {
		cases[c.Op] = true
	}
	operations := map[string]bool{}
	for _, name := range shaders.Names() {
		if strings.HasPrefix(name, "bench_") {
			continue // a ceiling to measure others against
		}
		operation := pass.ReplaceAllString(name, "")
		operations[operation] = true
		file := operation
		if other, ok := partOf[operation]; ok {
			file = other
		}
		rooms := []string{"../kernels", "../opcases", "../reference"}
		if withoutReference[operation] != "" {
			rooms = rooms[:2]
		}
		for _, room := range rooms {
			_, err := os.Stat(filepath.Join(room, file+".go"))
			require.NoError(t, err, "the partner of %s", name)
		}
		found := cases[name]
		for op := range cases {
			found = found || strings.HasPrefix(name, op+"_")
		}
		require.True(t, found, "no case runs %s", name)
	}
	for _, exceptions := range []map[string]string{partOf, withoutReference} {
		for operation := range exceptions {
			require.True(t, operations[operation], "%s is gone", operation)
		}
	}
}

// shared are shaders that all variants of their operation run.
var shared = []string{"attention_backward_delta"}

// TestEveryVariantHasCases asks that an operation's cases run all of its variants, and that a shader of such an
// operation belongs to one.
func TestEveryVariantHasCases(t *testing.T) {
	dev := gpu.NewDry(gpu.Options{}) // without features that a variant might need
	owners := map[string]map[string]bool{}
	for _, c := range opcases.All() {
		variants := kernels.Variants(c.Op)
		if len(variants) == 0 {
			require.Equal(t, []string{""}, c.On(dev), c.Op)
			continue
		}
		require.Equal(t, kernels.VariantsOn(dev, c.Op), c.On(dev), c.Op)
		owners[c.Op] = map[string]bool{}
		for _, v := range variants {
			require.NotEmpty(t, v.Shaders(), "%s %s", c.Op, v.Name)
			for _, name := range v.Shaders() {
				owners[c.Op][name] = true
			}
		}
	}
	require.NotEmpty(t, owners)
	for op, owned := range owners {
		for _, name := range shaders.Names() {
			if (name == op || strings.HasPrefix(name, op+"_")) && !slices.Contains(shared, name) {
				require.True(t, owned[name], "no variant of %s has %s", op, name)
			}
		}
	}
}
