package kernels_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

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

// TestPartners asks of every shader the wrapper, the cases and the reference of its operation, by the name of the file, and a case.
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

// TestEveryVariantHasCases asks that an operation's cases run all of its variants, and that a shader of a variant belongs to one.
func TestEveryVariantHasCases(t *testing.T) {
	variants := map[string][]string{}
	for _, c := range opcases.All() {
		require.Equal(t, c.Tune == "", len(c.Variants) == 0, c.Op)
		if c.Tune != "" {
			require.Subset(t, c.Variants, variants[c.Tune], c.Op)
			variants[c.Tune] = c.Variants
		}
	}
	for _, name := range shaders.Names() {
		op, family := name, ""
		for _, f := range []string{"registers", "tiled", "vector", "subgroup"} {
			if stem, ok := strings.CutSuffix(name, "_"+f); ok {
				op, family = stem, f
			}
		}
		if family == "" {
			continue
		}
		require.Condition(t, func() bool {
			for _, v := range variants[op] {
				if strings.HasPrefix(v, family+"_") {
					return true
				}
			}
			return false
		}, "no variant of %s runs %s", op, name)
	}
}
