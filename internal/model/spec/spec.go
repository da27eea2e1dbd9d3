// Package spec is what a decoder's families are told apart by: the configuration as its file has it (Keys), the
// description that a family makes of it (Spec), and the list of tensors that follows (Spec.Tensors). Whatever has to
// know a model's tensors ranges over that list: placing, loading, GGUF's names, random weights, counts of parameters
// and operations, the page.
package spec

import (
	"fmt"
	"math"
	"slices"

	"qlora-wgpu/internal/usererr"
)

// Spec describes a decoder: layers of grouped-query attention with rotary positions and a gated MLP, each behind an
// RMSNorm and added to its input. What is the same in all families has no field.
type Spec struct {
	Family       string // the class of transformers that has it, LlamaForCausalLM
	Hidden       int    // width of the residual stream
	Vocab        int
	MaxPositions int
	NormEps      float64
	RoPE         RoPE
	TiedHead     bool // the embedding is the output head too
	Layers       []Layer
	// Quantized are the tensors, by name, that the model's files hold in 4 bits, and that are taken as they are; the
	// others stay in 16 bits. nil: the files are not quantized, and how matrices are kept is a setting.
	Quantized map[string]Quantized
}

// Quantized is how files hold a matrix: NF4 in blocks of so many weights, whose absmax are quantized too or
// float32.
type Quantized struct {
	BlockSize int
	Double    bool
}

// Layer describes a layer of a decoder.
type Layer struct {
	Heads, KVHeads, HeadDim int
	MLP                     int // width within the MLP
	QKVBias, OBias, MLPBias bool
	QKNorm                  QKNorm
}

// QKNorm says how queries and keys are normed between their projection and their rotation.
type QKNorm uint8

const (
	NoQKNorm QKNorm = iota
	// PerHead is an RMSNorm over the dimensions of each head, with one weight [HeadDim] for the queries of all heads and
	// one for the keys.
	PerHead
)

// Family is what reads the configurations of one architecture. It only declares: what a Spec can say, the decoder can
// do.
type Family struct {
	Names     []string // in config.json's architectures
	ModelType string   // config.json's model_type, where architectures is missing
	GGUF      string   // GGUF's general.architecture
	// Interleaved says that its GGUF files hold the two halves of each head of q and k row by row in turns, as
	// llama.cpp rotates them.
	Interleaved bool
	Spec        func(k *Keys) (Spec, error)
}

// Read makes a configuration into a description, and checks what holds for every model. Errors are *usererr.Error with
// file, line and key: a value of another type or size, and keys that change what a model computes and which the family
// does not read.
func (f Family) Read(k *Keys) (Spec, error) {
	s, err := f.Spec(k)
	s.Family = f.Names[0]
	if err == nil {
		err = k.unread(f)
	}
	if err == nil {
		err = s.check(k)
	}
	return s, err
}

// WithLayers is the description of a model with n such layers; the last one is repeated where there are fewer.
func (s Spec) WithLayers(n int) Spec {
	layers := slices.Clone(s.Layers[:min(n, len(s.Layers))])
	for len(layers) < n {
		layers = append(layers, s.Layers[len(s.Layers)-1])
	}
	s.Layers = layers
	return s
}

// check refuses sizes that no model can have.
func (s Spec) check(k *Keys) error {
	invalid := func(format string, args ...any) error {
		return usererr.New(op, k.Path, "%w", fmt.Errorf(format, args...)).Of(usererr.Format)
	}
	for _, l := range s.Layers {
		switch {
		case l.Heads%l.KVHeads != 0:
			return invalid("num_attention_heads %d is no multiple of num_key_value_heads %d", l.Heads, l.KVHeads)
		case l.HeadDim%2 != 0:
			return invalid("head_dim %d is odd, rotary embeddings turn pairs", l.HeadDim)
		case l.Heads*l.HeadDim > maxDimension:
			return invalid("num_attention_heads %d times head_dim %d is above %d", l.Heads, l.HeadDim, maxDimension)
		}
	}
	switch r := s.RoPE; {
	case !(s.NormEps > 0 && s.NormEps < 1):
		return invalid("rms_norm_eps is %v, it must lie between 0 and 1", s.NormEps)
	case !(r.Theta > 0) || math.IsInf(r.Theta, 0):
		return invalid("rope_theta is %v, it must be positive", r.Theta)
	case r.Factors != nil && len(r.Factors) != r.HeadDim/2:
		return invalid("there are %d rope factors for head_dim %d", len(r.Factors), r.HeadDim)
	}
	for i, f := range s.RoPE.Factors {
		if !(f > 0) || math.IsInf(float64(f), 0) {
			return invalid("rope factor %d is %v, it must be positive", i, f)
		}
	}
	return nil
}
