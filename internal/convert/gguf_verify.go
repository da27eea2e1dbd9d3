package convert

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
)

// verify reads the file's header as llama.cpp would, and compares what it says of the model. Scores that llama.cpp
// scales otherwise are mended where they are made; all else that differs is refused by name.
func (g *GGUF) verify() error {
	head, err := g.head()
	if err != nil {
		return usererr.New(op, g.weights.model.Path(), "the GGUF header: %w", err)
	}
	const name = "model.gguf"
	read, err := pretrained.OpenGGUF(onlyFile{name, head}, name, name)
	if err != nil {
		return usererr.New(op, g.weights.model.Path(), "as GGUF: %w", err).Of(usererr.Unsupported).
			Hinted("write a Hugging Face folder with merge")
	}
	defer read.Close()
	g.scaleScores(read.Spec)
	if what := difference(g.spec, read.Spec); what != "" {
		return usererr.New(op, g.weights.model.Path(), "llama.cpp's %s cannot say of the model: %s", g.family.GGUF, what).
			Of(usererr.Unsupported).Hinted("write a Hugging Face folder with merge")
	}
	return nil
}

// head is the file with zeros for all weights but the frequencies', which come first.
func (g *GGUF) head() (*sparseFile, error) {
	var out bytes.Buffer
	w, err := gguf.NewWriter(&out, g.metadata, g.table())
	if err != nil {
		return nil, err
	}
	for _, t := range g.tensors {
		if t.values == nil {
			break
		}
		for _, p := range t.pieces(g.weights) {
			data, err := p()
			if err == nil {
				err = w.Write(t.Name, data)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	if out.Len() == 0 { // nothing has been written that the header goes before
		if err := w.Header(); err != nil {
			return nil, err
		}
	}
	return &sparseFile{out.Bytes(), w.Size()}, nil
}

// scaleScores puts the difference of scales into the queries, or into the weights that norm them.
func (g *GGUF) scaleScores(read spec.Spec) {
	scale := func(l spec.Layer) float64 {
		if l.ScoreScale != 0 {
			return l.ScoreScale
		}
		return 1 / math.Sqrt(float64(l.HeadDim))
	}
	for i := range min(len(g.spec.Layers), len(read.Layers)) {
		l := &g.spec.Layers[i]
		factor := scale(*l) / scale(read.Layers[i])
		l.ScoreScale = read.Layers[i].ScoreScale
		if near(factor, 1) {
			continue
		}
		for k := range g.tensors {
			t := &g.tensors[k]
			prefix := fmt.Sprintf("blk.%d.attn_q", i)
			normed := l.QKNorm != spec.NoQKNorm
			if t.Name == prefix+"_norm.weight" && normed || !normed && (t.Name == prefix+".weight" || t.Name == prefix+".bias") {
				t.factor = factor
			}
		}
	}
}

// near tells whether two numbers are one, as far as float32 tells them apart.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(math.Abs(a), math.Abs(b)) }

// difference names something in which two descriptions differ; empty: they compute the same.
func difference(a, b spec.Spec) string {
	one := func(x float64) float64 {
		if x == 0 {
			return 1
		}
		return x
	}
	for _, f := range []struct {
		name string
		a, b float64
	}{
		{"layers", float64(len(a.Layers)), float64(len(b.Layers))}, {"hidden_size", float64(a.Hidden), float64(b.Hidden)},
		{"vocab_size", float64(a.Vocab), float64(b.Vocab)}, {"max_position_embeddings", float64(a.MaxPositions), float64(b.MaxPositions)},
		{"rms_norm_eps", a.NormEps, b.NormEps}, {"the factor of the embedding", one(a.EmbeddingScale), one(b.EmbeddingScale)},
		{"the factor of what layers add", one(a.ResidualScale), one(b.ResidualScale)},
		{"the factor of the logits", one(a.LogitScale), one(b.LogitScale)}, {"final_logit_softcapping", a.LogitSoftCap, b.LogitSoftCap},
	} {
		if !near(f.a, f.b) {
			return fmt.Sprintf("%s is %v", f.name, f.a)
		}
	}
	if a.TiedHead != b.TiedHead {
		return fmt.Sprintf("tie_word_embeddings is %v", a.TiedHead)
	}
	for i := range a.Layers {
		x, y := a.Layers[i], b.Layers[i]
		if what := turning(x.RoPE, y.RoPE); what != "" {
			return fmt.Sprintf("in layer %d %s", i, what)
		}
		if !near(x.ScoreSoftCap, y.ScoreSoftCap) {
			return fmt.Sprintf("attn_logit_softcapping is %v", x.ScoreSoftCap)
		}
		if x.Window != y.Window {
			return fmt.Sprintf("in layer %d the sliding window is %d tokens", i, x.Window)
		}
		if !near(x.ScoreScale, y.ScoreScale) {
			return fmt.Sprintf("the scores have the scale %v", x.ScoreScale)
		}
		if x.RoPE, x.ScoreSoftCap, x.ScoreScale = y.RoPE, y.ScoreSoftCap, y.ScoreScale; x != y {
			return fmt.Sprintf("layer %d is %+v", i, a.Layers[i])
		}
	}
	return ""
}

// turning names how two rotary embeddings differ; empty: their tables are the same, near and far.
func turning(a, b *spec.RoPE) string {
	switch {
	case a == nil && b == nil:
		return ""
	case a == nil:
		return "nothing rotates"
	case b == nil:
		return "queries and keys rotate"
	case a.Dim != b.Dim:
		return fmt.Sprintf("%d dimensions of a head rotate", a.Dim)
	}
	const positions = 64
	for _, long := range []bool{false, true} {
		cos, sin := a.Tables(positions, long && a.LongFactors != nil)
		otherCos, otherSin := b.Tables(positions, long && b.LongFactors != nil)
		for i := range cos {
			if math.Abs(float64(cos[i]-otherCos[i])) > 1e-4 || math.Abs(float64(sin[i]-otherSin[i])) > 1e-4 {
				return fmt.Sprintf("rotary frequencies are those of rope_theta %v, scaling %q", a.Theta, a.Scaling)
			}
		}
	}
	if a.QueryScaling != 0 && a.OriginalMaxPositions != b.OriginalMaxPositions || !near(a.QueryScaling, b.QueryScaling) {
		return "queries grow with their position"
	}
	if a.LongFactors != nil && a.OriginalMaxPositions != b.OriginalMaxPositions {
		return fmt.Sprintf("rotations are others beyond %d tokens", a.OriginalMaxPositions)
	}
	return ""
}

// onlyFile is a folder with one file.
type onlyFile struct {
	name string
	file *sparseFile
}

func (f onlyFile) Open(name string) (pretrained.File, error) {
	if name != f.name {
		return nil, fs.ErrNotExist
	}
	return f.file, nil
}

func (f onlyFile) List(string) ([]string, error) { return nil, nil }

// sparseFile has zeros behind what it holds.
type sparseFile struct {
	data []byte
	size int64
}

func (f *sparseFile) Size() int64 { return f.size }

func (f *sparseFile) Close() error { return nil }

func (f *sparseFile) ReadAt(dst []byte, at int64) (n int, err error) {
	if at < 0 {
		return 0, errors.New("an offset below zero")
	}
	n = int(max(0, min(int64(len(dst)), f.size-at)))
	clear(dst[:n])
	if at < int64(len(f.data)) {
		copy(dst[:n], f.data[at:])
	}
	if n < len(dst) {
		err = io.EOF
	}
	return n, err
}
