package gguf

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// shaped are tensors of a decoder in the order of a converted file, with layers 10 and up before 2.
type shaped struct {
	Mixture
	hidden, wide int
	tied, fused  bool
}

func (s shaped) tensors() (list []Tensor) {
	add := func(name string, t Type, shape ...int) {
		list = append(list, Tensor{Name: name, Type: t, Shape: shape})
	}
	add("output_norm.weight", F32, s.hidden)
	add("token_embd.weight", F32, 7, s.hidden)
	kv := s.hidden / s.Heads * s.KVHeads
	for i := range s.Layers {
		blk := fmt.Sprintf("blk.%d.", (i+s.Layers/2)%s.Layers)
		add(blk+"attn_norm.weight", F32, s.hidden)
		if s.fused {
			add(blk+"attn_qkv.weight", F32, s.hidden+2*kv, s.hidden)
			add(blk+"ffn_up.weight", F32, 2*s.wide, s.hidden)
		} else {
			add(blk+"attn_q.weight", F32, s.hidden, s.hidden)
			add(blk+"attn_q.bias", F32, s.hidden)
			add(blk+"attn_k.weight", F32, kv, s.hidden)
			add(blk+"attn_v.weight", F32, kv, s.hidden)
			add(blk+"ffn_gate.weight", F32, s.wide, s.hidden)
			add(blk+"ffn_up.weight", F32, s.wide, s.hidden)
		}
		add(blk+"attn_output.weight", F32, s.hidden, s.hidden)
		add(blk+"ffn_norm.weight", F32, s.hidden)
		add(blk+"ffn_down.weight", F32, s.hidden, s.wide)
	}
	if !s.tied {
		add("output.weight", F32, 7, s.hidden)
	}
	return list
}

func (s shaped) metadata() []Pair {
	a := s.Architecture + "."
	return []Pair{
		{"general.architecture", s.Architecture},
		{a + "block_count", uint32(s.Layers)},
		{a + "context_length", uint32(64)},
		{a + "embedding_length", uint32(s.hidden)},
		{a + "feed_forward_length", uint32(s.wide)},
		{a + "attention.head_count", uint32(s.Heads)},
		{a + "attention.head_count_kv", uint32(s.KVHeads)},
		{a + "attention.layer_norm_rms_epsilon", float32(1e-5)},
		{a + "attention.sliding_window", uint32(32)},
	}
}

// mixtures are shapes by what the rule looks at: how many layers, tied or not, fused or not, widths that are no
// multiple of 256 or 32, and the models of 70 B.
var mixtures = map[string]shaped{
	"llama":          {Mixture{0, "llama", 9, 4, 2}, 256, 512, false, false},
	"tied":           {Mixture{0, "llama", 30, 4, 4}, 256, 256, true, false},
	"one layer":      {Mixture{0, "qwen3", 1, 4, 2}, 256, 256, true, false},
	"narrow":         {Mixture{0, "qwen2", 24, 2, 1}, 96, 352, true, false},
	"wide down":      {Mixture{0, "gemma2", 17, 2, 1}, 96, 256, true, false},
	"odd":            {Mixture{0, "llama", 3, 2, 1}, 256, 80, false, false},
	"fused":          {Mixture{0, "phi3", 32, 4, 2}, 256, 256, false, true},
	"70 B":           {Mixture{0, "llama", 80, 4, 1}, 256, 256, false, false},
	"65 B":           {Mixture{0, "llama", 80, 4, 4}, 256, 256, false, false},
	"70 B of Qwen 2": {Mixture{0, "qwen2", 80, 4, 4}, 256, 256, false, false},
	"80 of another":  {Mixture{0, "olmo2", 80, 4, 2}, 256, 256, false, false},
}

// fileTypes are those that are written.
var fileTypes = []FileType{AllF32, MostlyF16, MostlyBF16, MostlyQ8_0, MostlyQ4_0, Q4_K_M}

// describe has a line for each matrix: how many layers in a row have which type.
func describe(name string, s shaped, types []Type) (lines []string) {
	tensors := s.tensors()
	byLayer := map[string][]Type{}
	for i, t := range tensors {
		layer, what := layerOf(t.Name), t.Name
		if layer >= 0 {
			what = strings.SplitN(t.Name, ".", 3)[2]
		}
		if byLayer[what] == nil {
			byLayer[what] = make([]Type, s.Layers)
		}
		byLayer[what][max(0, layer)] = types[i]
	}
	for _, what := range slices.Sorted(maps.Keys(byLayer)) {
		line, list := fmt.Sprintf("%s, %d: %s", name, s.FileType, what), byLayer[what]
		if strings.HasSuffix(what, "norm.weight") {
			continue
		}
		if strings.HasPrefix(what, "output.") || strings.HasPrefix(what, "token") {
			list = list[:1]
		}
		for len(list) > 0 {
			n := slices.IndexFunc(list, func(t Type) bool { return t != list[0] })
			if n < 0 {
				n = len(list)
			}
			line += fmt.Sprintf(" %d×%v", n, list[0])
			list = list[n:]
		}
		lines = append(lines, line)
	}
	return lines
}

// TestMixture compares with the types that llama.cpp chose, as TestMixtureLikePython wrote them down.
func TestMixture(t *testing.T) {
	b, err := os.ReadFile("testdata/mixtures.txt")
	require.NoError(t, err)
	var got []string
	for _, name := range slices.Sorted(maps.Keys(mixtures)) {
		s := mixtures[name]
		for _, s.FileType = range fileTypes {
			var types []Type
			for _, c := range s.Choose(s.tensors()) {
				types = append(types, c.Type)
			}
			got = append(got, describe(name, s, types)...)
		}
	}
	require.Equal(t, strings.Split(strings.TrimSpace(string(b)), "\n"), got)
}

// TestMixtureSaysWhatItWanted names the type that the rows are too narrow for, and leaves what is no matrix alone.
func TestMixtureSaysWhatItWanted(t *testing.T) {
	m := Mixture{Q4_K_M, "llama", 8, 2, 1}
	require.Equal(t, []Choice{{Q8_0, Q6_K}, {Q5_0, Q4_K}, {F16, Q4_K}, {BF16, BF16}, {F32, F32}, {F16, F16}}, m.Choose([]Tensor{
		{Name: "output.weight", Type: F32, Shape: []int{9, 96}},
		{Name: "token_embd.weight", Type: F32, Shape: []int{9, 96}},
		{Name: "blk.4.ffn_up.weight", Type: F32, Shape: []int{9, 80}},
		{Name: "blk.4.attn_q_norm.weight", Type: BF16, Shape: []int{4, 256}},
		{Name: "blk.4.attn_q.weight", Type: F32, Shape: []int{1, 256}},
		{Name: "blk.4.attn_q.bias", Type: F16, Shape: []int{256}},
	}))
	require.Panics(t, func() { Mixture{FileType: 999}.Choose(nil) })
}

// TestMixtureLikePython compares whole files with what llama.cpp makes of the same weights: the types, and the bytes.
func TestMixtureLikePython(t *testing.T) {
	llama, python := theirs(t)
	var golden []string
	for _, name := range slices.Sorted(maps.Keys(mixtures)) {
		s := mixtures[name]
		tensors := s.tensors()
		x := map[string][]float32{}
		in, out := filepath.Join(t.TempDir(), "in.gguf"), filepath.Join(t.TempDir(), "out.gguf")
		file, err := os.Create(in)
		require.NoError(t, err)
		w, err := NewWriter(file, s.metadata(), tensors)
		require.NoError(t, err)
		for i, tensor := range tensors {
			n := tensor.Rows() * tensor.Cols()
			x[tensor.Name] = samples(n/256+1, 3, uint64(i))[:n]
			b := make([]byte, 4*n)
			require.NoError(t, F32.Quantize(b, x[tensor.Name]))
			require.NoError(t, w.Write(tensor.Name, b))
		}
		require.NoError(t, w.Close())
		require.NoError(t, file.Close())
		for _, s.FileType = range fileTypes {
			t.Run(fmt.Sprint(name, " ", s.FileType), func(t *testing.T) {
				command := exec.Command(python, "../../tools/gguf_test/llama.py", llama, in, out, fmt.Sprint(uint32(s.FileType)))
				log, err := command.CombinedOutput()
				require.NoError(t, err, string(log))
				b, err := os.ReadFile(out)
				require.NoError(t, err)
				f, err := Read(bytes.NewReader(b), int64(len(b)), out)
				require.NoError(t, err)
				require.Len(t, f.Tensors(), len(tensors))
				types := make([]Type, len(tensors))
				for i, c := range s.Choose(tensors) {
					got, ok := f.Lookup(tensors[i].Name)
					require.True(t, ok)
					require.Equal(t, got.Type, c.Type, got.Name)
					expected, ours := make([]byte, got.Size), make([]byte, got.Size)
					require.NoError(t, f.ReadBytes(got, expected, 0))
					require.NoError(t, c.Type.Quantize(ours, x[got.Name]))
					require.True(t, bytes.Equal(expected, ours), "%s differs as %v", got.Name, c.Type)
					types[i] = got.Type
				}
				golden = append(golden, describe(name, s, types)...)
			})
		}
	}
	if os.Getenv("QLORA_GGUF_UPDATE") != "" {
		require.NoError(t, os.WriteFile("testdata/mixtures.txt", []byte(strings.Join(golden, "\n")+"\n"), 0o666))
	}
}
