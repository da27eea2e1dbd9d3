//go:build windows

package windows_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The demo chooses its device by itself and makes the bytes of the Linux build, which run.sh leaves in a folder.
func TestDemo(t *testing.T) {
	dir := tempDir(t)
	printed := runs(t, dir, "demo")
	require.Contains(t, printed, "after 28 of 30")
	devices := runs(t, dir, "devices")
	if strings.Contains(devices, "(cpu, vulkan)") && strings.Contains(devices, "(integrated, d3d12)") { // Wine's D3D12 compiles nothing
		require.Contains(t, printed, "is passed over")
	}
	linux := os.Getenv("QLORA_LINUX_ADAPTER")
	if linux == "" {
		t.Skip("QLORA_LINUX_ADAPTER names no adapter to compare with")
	}
	require.Equal(t, read(t, linux), read(t, dir, "out-demo", "adapter", weights))
}

// What a user may call a folder. The same files train to the same bytes, wherever they lie and however they are named.
func TestPaths(t *testing.T) {
	root := tempDir(t)
	model, data := files(t, root)
	runs(t, root, training(model, data, filepath.Join(root, "out"), 2)...)
	want := read(t, root, "out", weights)

	deep := root
	for len(deep) < 300 {
		deep = filepath.Join(deep, strings.Repeat("d", 30))
	}
	slashes := strings.ReplaceAll(filepath.Join(root, "slashes"), `\`, "/")
	for name, c := range map[string]struct{ in, named string }{
		"Unicode":        {in: filepath.Join(root, "Größe 模型 жар 🏴‍☠️ e\u0301")},
		"signs":          {in: filepath.Join(root, "my models", "a&b (c) %PATH% ^1'; #$!,=")},
		"300 characters": {in: deep},
		"slashes":        {in: filepath.FromSlash(slashes), named: slashes},
		"relative":       {in: filepath.Join(root, "one", "two"), named: `one\..\one\two`},
		"no drive":       {in: filepath.Join(root, "rooted"), named: strings.TrimPrefix(root, filepath.VolumeName(root)) + `\rooted`},
		"long by prefix": {in: filepath.Join(root, "prefixed"), named: `\\?\` + filepath.Join(root, "prefixed")},
	} {
		t.Run(name, func(t *testing.T) {
			named := c.named
			if named == "" {
				named = c.in
			}
			files(t, c.in)
			join := func(name string) string { return named + named[strings.LastIndexAny(named, `\/`):][:1] + name }
			out := join("out put")
			runs(t, root, training(join("model"), join("train.jsonl"), out, 2, "--save-steps", "1", "--cache-dir", join("cache"))...)
			require.Equal(t, want, read(t, c.in, "out put", weights))
			for _, file := range []string{`checkpoint-2\manifest.json`, "trainer_log.jsonl", "adapter_config.json", "README.md"} {
				require.FileExists(t, filepath.Join(c.in, "out put", file))
			}
			require.Regexp(t, `(?m)^base_model: "?model"?\s*$`, string(read(t, c.in, "out put", "README.md")), "the model's name, not its place")
			cached, err := os.ReadDir(filepath.Join(c.in, "cache", "nf4"))
			require.NoError(t, err)
			require.NotEmpty(t, cached)
			require.NotEmpty(t, runs(t, root, "generate", "--model", join("model"), "--adapter", out, "--prompt", "Where is Ruth?",
				"--max-tokens", "3", "--cache-dir", join("cache"), "--autotune", "off"))
		})
	}
}
