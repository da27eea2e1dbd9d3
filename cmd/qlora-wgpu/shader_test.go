//go:build unix

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/shaders"
)

func TestShaderNames(t *testing.T) {
	status, stdout, stderr := invoke(t, "shader")
	require.Empty(t, stderr)
	require.Zero(t, status)
	require.Equal(t, strings.Join(shaders.Names(), "\n")+"\n", stdout)
}

// A kernel's text is linked and unrolled: with the file's own constants, and with a variant's.
func TestShaderText(t *testing.T) {
	text := func(args ...string) string {
		status, stdout, stderr := invoke(t, append([]string{"shader"}, args...)...)
		require.Empty(t, stderr)
		require.Zero(t, status)
		require.NotContains(t, stdout, "import package")
		require.NotContains(t, stdout, "// unroll")
		return stdout
	}
	own := text("matmul_nf4_forward_tiled")
	require.True(t, strings.HasPrefix(own, "// matmul_nf4_forward_tiled\n"))
	require.Contains(t, own, "fn scales4(") // of a module
	require.Contains(t, own, "const ROWS4: u32 = 1u;")
	require.NotContains(t, own, "of3_a1_b0")
	variant := text("matmul_nf4_forward_tiled", "--variant", "tiled_64x64")
	require.Contains(t, variant, "const ROWS4: u32 = 2u;")
	require.Contains(t, variant, "of3_a1_b0")
	require.True(t, strings.HasPrefix(text("attention_backward_value_shared", "--variant", "shared_64x32"),
		"// attention_backward_value_shared[HEAD4="))
	require.Contains(t, text("matmul_nf4_forward_subgroup", "--variant", "subgroup_4x16x4"), "enable subgroups;")
}

func TestShaderMistakes(t *testing.T) {
	refused(t, `shader: there is no kernel "matmul_nf4_forward_tile" (did you mean matmul_nf4_forward_tiled?)`,
		"shader", "matmul_nf4_forward_tile")
	refused(t, `shader: matmul_nf4_forward has no variant "tiled_64x6" (did you mean tiled_64x64?)`,
		"shader", "matmul_nf4_forward_tiled", "--variant=tiled_64x6")
	refused(t, "shader: variant registers_16x4 does not run matmul_nf4_forward_tiled (it runs matmul_nf4_forward_registers)",
		"shader", "matmul_nf4_forward_tiled", "--variant=registers_16x4")
	refused(t, "shader: fill has no variants", "shader", "fill", "--variant=tiled_64x64")
	refused(t, "shader: --variant without the name of a kernel", "shader", "--variant=tiled_64x64")
}
