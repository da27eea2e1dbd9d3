package reference

import "fmt"

// Spec says what a decoder is made of.
type Spec struct {
	Hidden, Vocab int
	NormEps       float64
	RoPE          RoPE // of layers that have none of their own
	TiedHead      bool // the head's table is the embedding's
	Layers        []Layer
	// Renamed are modules of a layer that the family calls otherwise: mlp.down_proj, …
	Renamed map[string]string

	EmbeddingScale float64 // of the embedded tokens; 0 is 1, as in the next two
	ResidualScale  float64 // of what attention and MLP add to their input
	LogitScale     float64
	LogitSoftCap   float64 // logits are cap·tanh(logits/cap); 0: no cap
}

// Layer says what a layer is made of. Its zero values are Llama's.
type Layer struct {
	Heads, KVHeads, HeadDim int // HeadDim is free of Hidden/Heads
	MLP                     int // width within the MLP
	QKNorm                  QKNorm
	Bias                    Projections
	Window                  int     // how many keys a query sees, itself among them; 0: all of its segment
	Scale                   float64 // of the scores; 0: HeadDim^-1/2
	SoftCap                 float64 // scores are cap·tanh(scores/cap); 0: no cap
	RoPE                    *RoPE   // nil: the model's
	NoRoPE                  bool
	Norms                   Norms
	GELU                    bool // in the place of SiLU
	FusedQKV                bool // q, k and v are one linear
	FusedMLP                bool // gate and up are one linear
}

// RoPE is the rotary embedding: its base, how many dimensions of a head rotate, how frequencies are stretched.
type RoPE struct {
	Theta float64
	Dim   int // 0: all
	RoPEScaling
}

// Norms is where a layer's norms stand.
type Norms int

const (
	NormsBefore Norms = iota // attention and MLP
	NormsBehind              // them, before they are added to their input
	NormsAround              // both
)

// QKNorm is where an RMSNorm of queries and keys stands: after the projection and before the rotation.
type QKNorm int

const (
	NoQKNorm   QKNorm = iota
	PerHead           // one weight [HeadDim] for all heads, each with a root mean square of its own
	WholeWidth        // one root mean square over all heads of a token, weights [Heads·HeadDim] and [KVHeads·HeadDim]
)

// Projections names linears of a layer.
type Projections struct{ Q, K, V, O, Gate, Up, Down bool }

// Input is a micro-batch: one flat list of T tokens, segments one after another.
type Input struct {
	IDs       []uint32 // [T]
	Positions []uint32 // [T] within the token's segment
	FirstKey  []uint32 // [T] where the token's segment begins in the list
	Targets   []int32  // [T] the id to predict at this token, negative for none
}

// Segments is the input of sequences that are packed one after another; targets are as long as they are.
func Segments(ids [][]uint32, targets [][]int32) (in Input) {
	for i, segment := range ids {
		wantLen("targets", len(targets[i]), len(segment))
		first := uint32(len(in.IDs))
		for position := range segment {
			in.Positions, in.FirstKey = append(in.Positions, uint32(position)), append(in.FirstKey, first)
		}
		in.IDs, in.Targets = append(in.IDs, segment...), append(in.Targets, targets[i]...)
	}
	return in
}

// supervised lists the tokens with a target, and those targets.
func (in Input) supervised() (rows, targets []uint32) {
	for i, target := range in.Targets {
		if target >= 0 {
			rows, targets = append(rows, uint32(i)), append(targets, uint32(target))
		}
	}
	return rows, targets
}

// rope is that of a layer.
func (s Spec) rope(l Layer) RoPE {
	r := s.RoPE
	if l.RoPE != nil {
		r = *l.RoPE
	}
	if r.Dim == 0 {
		r.Dim = l.HeadDim
	}
	return r
}

// factor is x, where 0 is 1.
func factor(x float64) float64 {
	if x == 0 {
		return 1
	}
	return x
}

// firstKeys is FirstKey within the window.
func (l Layer) firstKeys(in Input) []uint32 {
	first := make([]uint32, len(in.FirstKey))
	for t, segment := range in.FirstKey {
		first[t] = segment
		if l.Window > 0 {
			first[t] = max(segment, uint32(max(0, t+1-l.Window)))
		}
	}
	return first
}

// qkNormWidth is the length of the norm's weight for a row of so many heads.
func (l Layer) qkNormWidth(heads int) int {
	switch l.QKNorm {
	case PerHead:
		return l.HeadDim
	case WholeWidth:
		return heads * l.HeadDim
	}
	panic(fmt.Sprintf("reference: unknown norm %d of queries and keys", l.QKNorm))
}
