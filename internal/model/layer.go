package model

import (
	"math"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// layer is one decoder layer; its frozen weights are reached through a handle.
type layer struct {
	weights                      *paging.Handle
	linears                      []*lora.Linear
	inputNorm, postAttentionNorm Norm
	attention                    Attention
	mlp                          MLP
}

// kept is what a layer's backward needs: the sum after attention, what attention keeps, and, where nothing of the MLP
// is computed again, what each chunk's keeps.
type kept struct {
	middle    []*gpu.Tensor
	attention *AttentionKept
	mlp       []*MLPKept
}

// newLayer makes a layer of its description. Its frozen weights are looked up by module, among the tensors of the layer
// in the model's list.
func newLayer(s spec.Spec, index int) *layer {
	l, made := &layer{}, map[string]*lora.Linear{}
	for _, t := range s.LayerTensors(index) {
		if t.Role != spec.Matrix {
			continue
		}
		linear := &lora.Linear{
			Name: strings.TrimSuffix(t.Name, ".weight"), Weight: t.Module, In: t.Cols, Out: t.Rows, Index: len(l.linears),
		}
		made[t.Module] = linear
		l.linears = append(l.linears, linear)
	}
	for _, linear := range l.linears { // layers have as many before this one
		linear.Index += index * len(l.linears)
	}
	eps, d := float32(s.NormEps), s.Layers[index]
	l.inputNorm, l.postAttentionNorm = Norm{spec.InputNorm, eps}, Norm{spec.PostAttentionNorm, eps}
	l.attention = Attention{
		Q: made[spec.QProj], K: made[spec.KProj], V: made[spec.VProj], O: made[spec.OProj],
		Heads: d.Heads, KVHeads: d.KVHeads, HeadDim: d.HeadDim, Scale: float32(1 / math.Sqrt(float64(d.HeadDim))),
	}
	if d.QKNorm == spec.PerHead {
		l.attention.QNorm, l.attention.KNorm = &Norm{spec.QNorm, eps}, &Norm{spec.KNorm, eps}
	}
	l.mlp = MLP{Gate: made[spec.GateProj], Up: made[spec.UpProj], Down: made[spec.DownProj]}
	return l
}

// attend is the first half of the layer for x [T, C], a list of chunks; x stays.
func (l *layer) attend(p *Pass, w paging.Weights, x []*gpu.Tensor) (k kept) {
	k.middle = make([]*gpu.Tensor, len(x))
	k.attention = l.attention.Forward(p, w, l.inputNorm, x, func(chunk int, y *gpu.Tensor) {
		k.middle[chunk] = p.New("middle", y.Rows, y.Cols)
		kernels.ResidualAddForward(p.Rec, k.middle[chunk], x[chunk], y)
	})
	return k
}

// forward returns the layer's output; x stays, and what is to be kept.
func (l *layer) forward(p *Pass, w paging.Weights, x []*gpu.Tensor, keepAttention, keepMLP bool) (y []*gpu.Tensor, k kept) {
	k = l.attend(p, w, x)
	if !keepAttention {
		k.attention.Release(p)
	}
	for i, middle := range k.middle {
		normed := l.postAttentionNorm.Forward(p, w, middle)
		mlp, mlpKept := l.mlp.Forward(p, i, w, normed)
		p.Free(normed)
		out := p.New("layer output", middle.Rows, middle.Cols)
		kernels.ResidualAddForward(p.Rec, out, middle, mlp)
		p.Free(mlp)
		y = append(y, out)
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
		normed := l.postAttentionNorm.Forward(p, w, middle)
		var mlp *MLPKept
		if k.mlp != nil {
			mlp = k.mlp[i]
		} else {
			mlp = l.mlp.Recompute(p, i, w, normed)
		}
		dMLP := l.mlp.Backward(p, i, w, dx[i], normed, mlp)
		l.postAttentionNorm.BackwardAdd(p, w, dx[i], dMLP, middle)
		p.Free(dMLP, normed, middle)
	}
	l.attention.Backward(p, w, l.inputNorm, dx, x, k.attention, wanted)
}
