package gguf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// FileType is general.file_type: llama.cpp's number (enum llama_ftype in llama.h) of a mixture of types.
type FileType uint32

// The file types that are written.
const (
	AllF32     FileType = 0
	MostlyF16  FileType = 1
	MostlyQ4_0 FileType = 2
	MostlyQ8_0 FileType = 7
	Q4_K_M     FileType = 15
	MostlyBF16 FileType = 32
)

// FileTypes are those that are written, under the names that llama.cpp's tool has for them, in lower case.
var FileTypes = map[string]FileType{
	"f32": AllF32, "f16": MostlyF16, "bf16": MostlyBF16, "q8_0": MostlyQ8_0, "q4_0": MostlyQ4_0, "q4_k_m": Q4_K_M,
}

// mostly is the type of tensors for which no rule has another.
var mostly = map[FileType]Type{AllF32: F32, MostlyF16: F16, MostlyBF16: BF16, MostlyQ8_0: Q8_0, MostlyQ4_0: Q4_0, Q4_K_M: Q4_K}

// Mixture decides the types of a model's tensors by llama.cpp's rule (llama_tensor_get_type in llama-quant.cpp), for
// decoders without experts.
type Mixture struct {
	FileType     FileType
	Architecture string // general.architecture
	Layers       int    // block_count
	Heads        int    // attention.head_count
	KVHeads      int    // attention.head_count_kv
}

// Choice is the type of a tensor, and the one that its rows are too narrow or too odd for, which else is the same.
type Choice struct{ Type, Wanted Type }

// Choose gives the type of each tensor, of which Name, Shape and Type are read; all of the model's have to be there.
// Vectors, norms and the like keep their Type. A file type that is not written is a bug and panics.
func (m Mixture) Choose(tensors []Tensor) []Choice {
	base, ok := mostly[m.FileType]
	if !ok {
		panic(fmt.Sprintf("gguf: file type %d", m.FileType))
	}
	tied := !slices.ContainsFunc(tensors, func(t Tensor) bool { return t.Name == "output.weight" })
	order := make([]int, len(tensors)) // layer by layer, since the rule counts
	values := 0
	for i, t := range tensors {
		order[i] = i
		if isAttentionV(t.Name) {
			values++
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(layerOf(tensors[a].Name), layerOf(tensors[b].Name)), strings.Compare(tensors[a].Name, tensors[b].Name))
	})
	choices := make([]Choice, len(tensors))
	value, down := 0, 0 // how many of these have been passed
	for _, i := range order {
		t, wanted := tensors[i], base
		switch {
		case !isQuantized(t):
			choices[i] = Choice{t.Type, t.Type}
			continue
		case layouts[base].elements == 1:
			choices[i] = Choice{base, base}
			continue
		case t.Name == "output.weight", tied && t.Name == "token_embd.weight":
			if base != Q8_0 {
				wanted = Q6_K
			}
		case isAttentionV(t.Name):
			if m.FileType == Q4_K_M {
				if moreBits(value, values) {
					wanted = Q6_K
				} else if m.isShared() {
					wanted = Q5_K
				}
			}
			value++
		case strings.Contains(t.Name, "ffn_down"):
			if m.FileType == Q4_K_M && moreBits(down, m.Layers) {
				wanted = Q6_K
			}
			down++
		}
		choices[i] = Choice{fallback(wanted, t.Cols()), wanted}
	}
	return choices
}

// isQuantized tells whether a tensor changes its type (tensor_allows_quantization): matrices that are weights, but not
// those of norms, routers and convolutions.
func isQuantized(t Tensor) bool {
	matrix := t.Rows() > 1
	for _, kept := range []string{"_norm.weight", "ffn_gate_inp.weight", "ssm_conv1d"} {
		matrix = matrix && !strings.Contains(t.Name, kept)
	}
	return matrix && strings.HasSuffix(t.Name, "weight")
}

// isAttentionV tells whether a tensor holds the projection to values, by itself or with others.
func isAttentionV(name string) bool {
	return strings.Contains(name, "attn_v.weight") || strings.Contains(name, "attn_qkv.weight") || strings.Contains(name, "attn_kv_b.weight")
}

// moreBits is true of the first and the last eighth, and of every third between (use_more_bits).
func moreBits(i, n int) bool { return i < n/8 || i >= 7*n/8 || (i-n/8)%3 == 2 }

// isShared is true of the models of 70 B parameters, in which many heads share the values of one.
func (m Mixture) isShared() bool {
	return m.Layers == 80 && (m.Architecture == "qwen2" || m.Architecture == "llama" && m.Heads != m.KVHeads)
}

// fallback is the type of rows of so many columns for which another is wanted (tensor_type_fallback).
func fallback(wanted Type, columns int) Type {
	if columns%layouts[wanted].elements == 0 {
		return wanted
	}
	if t, ok := narrower[wanted]; ok && columns%layouts[t].elements == 0 {
		return t
	}
	return F16
}

// narrower are the types in blocks of 32 that stand in for those in blocks of 256.
var narrower = map[Type]Type{Q4_K: Q5_0, Q5_K: Q5_1, Q6_K: Q8_0}

// layerOf is the number of a tensor's layer, -1 outside of the layers.
func layerOf(name string) int {
	layer := -1
	if _, err := fmt.Sscanf(name, "blk.%d.", &layer); err != nil {
		return -1
	}
	return layer
}
