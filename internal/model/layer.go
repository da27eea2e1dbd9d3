package model

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// layer is one decoder layer; its frozen weights are reached through a handle.
type layer struct {
	weights                        *paging.Handle
	linears                        []*lora.Linear
	attention                      Attention
	mlp                            MLP
	postAttentionNorm, postMLPNorm *Norm   // of what they give; nil: none
	scale                          float32 // of that, before it is added
}

// kept is what a layer's backward needs: the sum after attention, what attention keeps, and, where nothing of the MLP
// is computed again, what each chunk's keeps; where norms stand behind the two, also what they gave.
type kept struct {
	middle        []*gpu.Tensor
	attention     *AttentionKept
	attended, out []*gpu.Tensor // before the norms behind
	mlp           []*MLPKept
}

// newLayer makes a layer of its description. Its frozen weights are looked up by module, among the tensors of the layer
// in the model's list.
func newLayer(s spec.Spec, index int) *layer {
	l, made := &layer{scale: float32(cmp.Or(s.ResidualScale, 1))}, map[string]*lora.Linear{}
	norms := map[string]*Norm{}
	for _, t := range s.LayerTensors(index) {
		switch t.Role {
		case spec.Matrix:
			linear := &lora.Linear{
				Name: strings.TrimSuffix(t.Name, ".weight"), Weight: t.Module, In: t.Cols, Out: t.Rows, Index: len(l.linears),
			}
			made[t.Module] = linear
			l.linears = append(l.linears, linear)
		case spec.Vector:
			norms[t.Module] = &Norm{t.Module, float32(s.NormEps)}
		}
	}
	for _, linear := range l.linears { // layers have as many before this one
		linear.Index += index * len(l.linears)
	}
	d := s.Layers[index]
	l.attention = Attention{
		Norm: norms[spec.InputNorm], QKV: made[spec.QKVProj], Q: made[spec.QProj], K: made[spec.KProj], V: made[spec.VProj], O: made[spec.OProj],
		QNorm: norms[spec.QNorm], KNorm: norms[spec.KNorm], WholeWidth: d.QKNorm == spec.WholeWidth, Rotary: slices.Index(s.Rotations(), d.RoPE),
		Heads: d.Heads, KVHeads: d.KVHeads, HeadDim: d.HeadDim, Window: d.Window, SoftCap: float32(d.ScoreSoftCap),
		Scale: float32(cmp.Or(d.ScoreScale, 1/math.Sqrt(float64(d.HeadDim)))),
	}
	l.mlp = MLP{GateUp: made[spec.GateUpProj], Gate: made[spec.GateProj], Up: made[spec.UpProj], Down: made[spec.DownProj], GELU: d.GELU}
	if d.Norms == spec.NormsBefore {
		l.mlp.Norm = norms[spec.PostAttentionNorm]
	} else {
		l.postAttentionNorm, l.mlp.Norm, l.postMLPNorm = norms[spec.PostAttentionNorm], norms[spec.PreMLPNorm], norms[spec.PostMLPNorm]
	}
	return l
}

// join is x plus what a branch gave, y, normed where a norm stands behind it.
func (l *layer) join(p *Pass, w paging.Weights, name string, x, y *gpu.Tensor, norm *Norm) *gpu.Tensor {
	branch := norm.before(p, w, y)
	sum := p.New(name, y.Rows, y.Cols)
	kernels.ResidualAddForward(p.Rec, sum, x, branch, l.scale)
	norm.free(p, branch)
	return sum
}

// part is the gradient of a branch's y for dx of what join made of it: dx itself where nothing is done to y.
func (l *layer) part(p *Pass, w paging.Weights, dx, y *gpu.Tensor, norm *Norm) *gpu.Tensor {
	d := dx
	if l.scale != 1 {
		d = p.New("d branch", dx.Rows, dx.Cols)
		kernels.ScaleForward(p.Rec, d, dx, l.scale)
	}
	if norm == nil {
		return d
	}
	dy := p.New("d branch output", dx.Rows, dx.Cols)
	kernels.RMSNormBackward(p.Rec, dy, d, y, norm.at(w), false)
	if d != dx {
		p.Free(d)
	}
	return dy
}

// attend is the first half of the layer for x [T, C], a list of chunks; x stays.
func (l *layer) attend(p *Pass, w paging.Weights, x []*gpu.Tensor) (k kept) {
	k.middle = make([]*gpu.Tensor, len(x))
	k.attention = l.attention.Forward(p, w, x, func(chunk int, y *gpu.Tensor) {
		k.middle[chunk] = l.join(p, w, "middle", x[chunk], y, l.postAttentionNorm)
		if l.postAttentionNorm != nil {
			k.attended = append(k.attended, y)
		} else {
			p.Free(y)
		}
	})
	return k
}

// forward returns the layer's output; x stays, and what is to be kept.
func (l *layer) forward(p *Pass, w paging.Weights, x []*gpu.Tensor, keepAttention, keepMLP bool) (y []*gpu.Tensor, k kept) {
	k = l.attend(p, w, x)
	if !keepAttention {
		k.attention.Release(p)
		p.Free(k.attended...)
	}
	for i, middle := range k.middle {
		mlp, mlpKept := l.mlp.Forward(p, i, w, middle)
		y = append(y, l.join(p, w, "layer output", middle, mlp, l.postMLPNorm))
		if keepMLP && l.postMLPNorm != nil {
			k.out = append(k.out, mlp)
		} else {
			p.Free(mlp)
		}
		if keepMLP {
			k.mlp = append(k.mlp, mlpKept)
		} else {
			mlpKept.Release(p)
		}
		if !keepAttention {
			p.Free(middle)
		}
	}
	return y, k
}

// backward turns dx, the gradient of the layer's output, into that of its input x, in place (left alone unless wanted),
// and frees what was kept.
func (l *layer) backward(p *Pass, w paging.Weights, dx, x []*gpu.Tensor, k kept, wanted bool) {
	for i, middle := range k.middle {
		normed := l.mlp.Norm.before(p, w, middle)
		mlp, out := l.again(p, i, w, normed, k)
		dy := l.part(p, w, dx[i], out, l.postMLPNorm)
		p.Free(out)
		dMLP := l.mlp.Backward(p, i, w, dy, normed, mlp)
		if dy != dx[i] {
			p.Free(dy)
		}
		dx[i] = l.mlp.Norm.addBack(p, w, dx[i], dMLP, middle)
		p.Free(dMLP)
		l.mlp.Norm.free(p, normed)
		p.Free(middle)
	}
	dy := slices.Clone(dx)
	for i := range dy {
		var attended *gpu.Tensor
		if k.attended != nil {
			attended = k.attended[i]
		}
		dy[i] = l.part(p, w, dx[i], attended, l.postAttentionNorm)
		p.Free(attended)
	}
	before := slices.Clone(dx)
	l.attention.Backward(p, w, dx, dy, x, k.attention, wanted)
	for i := range dy {
		if dy[i] != before[i] {
			p.Free(dy[i])
		}
	}
}

// again is what a chunk's MLP has kept, or computes again, and what it gave where a norm stands behind it.
func (l *layer) again(p *Pass, chunk int, w paging.Weights, normed *gpu.Tensor, k kept) (mlp *MLPKept, out *gpu.Tensor) {
	switch {
	case k.mlp == nil && l.postMLPNorm == nil:
		return l.mlp.Recompute(p, chunk, w, normed), nil
	case k.mlp == nil:
		out, mlp = l.mlp.of(p, chunk, w, normed)
		return mlp, out
	case l.postMLPNorm != nil:
		out = k.out[chunk]
	}
	return k.mlp[chunk], out
}
