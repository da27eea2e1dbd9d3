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

// Spec describes a decoder: layers of grouped-query attention with rotary positions and a gated MLP, each with RMSNorms
// and added to its input. What is the same in all families has no field; zero values are Llama's.
type Spec struct {
	Family       string // the class of transformers that has it, LlamaForCausalLM
	Wrapper      string // the class of its files, where that holds it beside an encoder of images; empty: Family
	Hidden       int    // width of the residual stream
	Vocab        int
	MaxPositions int
	NormEps      float64
	TiedHead     bool // the embedding is the output head too
	Layers       []Layer

	EmbeddingScale float64 // of the embedded tokens; 0 is 1, as in the next two
	ResidualScale  float64 // of what attention and MLP add to their input
	LogitScale     float64
	LogitSoftCap   float64 // logits are cap·tanh(logits/cap); 0: no cap
	NormPlusOne    bool    // Hugging Face's files hold the weights of norms less 1
	// Renamed are modules, as Tensor.Module has them, that the family's files and adapters call otherwise.
	Renamed map[string]string
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
	Norms                   Norms
	RoPE                    *RoPE   // nil: nothing rotates. Layers with the same one share its tables.
	Window                  int     // how many tokens a query sees, itself among them; 0: all of its sequence
	ScoreScale              float64 // 0: 1/√HeadDim
	ScoreSoftCap            float64 // scores are cap·tanh(scores/cap); 0: no cap
	GELU                    bool    // in the place of SiLU, in its tanh form
	FusedQKV                bool    // q, k and v are one matrix
	FusedMLP                bool    // gate and up are one matrix
}

// Norms says where a layer's norms stand.
type Norms uint8

const (
	NormsBefore Norms = iota // attention and MLP
	NormsBehind              // them, before they are added to their input
	NormsAround              // both
)

// QKNorm says how queries and keys are normed between their projection and their rotation.
type QKNorm uint8

const (
	NoQKNorm QKNorm = iota
	// PerHead is an RMSNorm over the dimensions of each head, with one weight [HeadDim] for the queries of all heads and
	// one for the keys.
	PerHead
	// WholeWidth is an RMSNorm over all heads of a token, with weights [Heads·HeadDim] and [KVHeads·HeadDim].
	WholeWidth
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
	// WrittenAs is the family as whose models llama.cpp's converter writes those of this one; nil: it is itself.
	WrittenAs *Family
	// GateApart says that GGUF files, and MLX, have gate and up apart where this family's files have one matrix.
	GateApart bool
	// Implied sets keys that its GGUF files do not have because llama.cpp goes by the architecture; nil: there are none.
	Implied func(k *Keys)
	Spec    func(k *Keys) (Spec, error)
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

// computes tells whether a factor is 0, which is off, or one that float32 holds.
func computes(x float64) bool { return x == 0 || x >= 0x1p-126 && x <= math.MaxFloat32 }

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
		case !computes(l.ScoreScale) || !computes(l.ScoreSoftCap):
			return invalid("the scores have the scale %v and the cap %v, these must be positive, and float32", l.ScoreScale, l.ScoreSoftCap)
		case l.Heads*l.HeadDim > maxDimension:
			return invalid("num_attention_heads %d times head_dim %d is above %d", l.Heads, l.HeadDim, maxDimension)
		}
	}
	if !(s.NormEps > 0 && s.NormEps < 1) {
		return invalid("rms_norm_eps is %v, it must be above 0 and below 1", s.NormEps)
	}
	for _, x := range []float64{s.EmbeddingScale, s.ResidualScale, s.LogitScale, s.LogitSoftCap} {
		if !computes(x) {
			return invalid("a factor or a cap of the model is %v, it must be positive, and a float32", x)
		}
	}
	for _, r := range s.Rotations() {
		if err := r.check(invalid); err != nil {
			return err
		}
	}
	return nil
}

// Rotations are the rotary embeddings of the layers, each once.
func (s Spec) Rotations() (all []*RoPE) {
	for _, l := range s.Layers {
		if l.RoPE != nil && !slices.Contains(all, l.RoPE) {
			all = append(all, l.RoPE)
		}
	}
	return all
}
