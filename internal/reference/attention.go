package reference

import (
	"fmt"
	"math"
)

// AttentionShape describes causal attention with grouped key/value heads over packed segments. Query t sees the keys
// FirstKey[t] … t+QueryOffset: FirstKey is where its segment (or window) begins, QueryOffset the number of keys before
// the first query. Query head h reads key/value head h / (H/KVH).
type AttentionShape struct {
	H, KVH, D   int
	Scale       float64  // of the scores, usually 1/sqrt(D)
	SoftCap     float64  // of the scaled scores, see SoftCap; 0: none
	FirstKey    []uint32 // [T]
	QueryOffset int
}

func (a AttentionShape) check(q, k, v []float64) (keys int) {
	if a.H%a.KVH != 0 {
		panic(fmt.Sprintf("reference: %d query heads over %d key/value heads", a.H, a.KVH))
	}
	wantLen("q", len(q), len(a.FirstKey), a.H, a.D)
	keys = rows("k", len(k), a.KVH*a.D)
	wantLen("v", len(v), len(k))
	for t, first := range a.FirstKey {
		if last := t + a.QueryOffset; int(first) > last || last >= keys {
			panic(fmt.Sprintf("reference: query %d sees keys %d to %d of %d", t, first, last, keys))
		}
	}
	return keys
}

// row is head's vector in row t of a matrix with this many heads.
func (a AttentionShape) row(x []float64, t, heads, head int) []float64 {
	first := (t*heads + head) * a.D
	return x[first : first+a.D]
}

// AttentionForward: s_j = softcap(scale * q_t·k_j), lse = log(sum_j exp(s_j)), o_t = sum_j exp(s_j - lse) v_j, per
// head. q and o are [T, H*D], k and v are [S, KVH*D], lse is [T, H].
//
// Source: Attention Is All You Need (arXiv 1706.03762); the saved log-sum-exp is FlashAttention-2's (arXiv 2307.08691).
func AttentionForward(q, k, v []float64, a AttentionShape) (o, lse []float64) {
	keys := a.check(q, k, v)
	o, lse = make([]float64, len(q)), make([]float64, len(a.FirstKey)*a.H)
	scores := make([]float64, keys)
	for t, first := range a.FirstKey {
		for head := range a.H {
			kvHead := head / (a.H / a.KVH)
			query, out := a.row(q, t, a.H, head), a.row(o, t, a.H, head)
			largest := math.Inf(-1)
			for j := int(first); j <= t+a.QueryOffset; j++ {
				scores[j] = SoftCap(a.Scale*dot(query, a.row(k, j, a.KVH, kvHead)), a.SoftCap)
				largest = max(largest, scores[j])
			}
			sum := 0.0
			for j := int(first); j <= t+a.QueryOffset; j++ {
				sum += math.Exp(scores[j] - largest)
			}
			logSum := largest + math.Log(sum)
			lse[t*a.H+head] = logSum
			for j := int(first); j <= t+a.QueryOffset; j++ {
				addScaled(out, math.Exp(scores[j]-logSum), a.row(v, j, a.KVH, kvHead))
			}
		}
	}
	return o, lse
}

// AttentionBackward, per head with p_j = exp(s_j - lse) and delta = do_t·o_t: ds_j = p_j * (do_t·v_j - delta), times 1
// - (s_j/cap)² where there is a cap, dq_t = scale * sum_j ds_j k_j, dk_j = scale * sum_t ds_j q_t, dv_j = sum_t p_j
// do_t. A key/value head sums over the query heads of its group. do, o and dq are [T, H*D], lse is [T, H], dk and dv
// are [S, KVH*D].
func AttentionBackward(do, q, k, v, o, lse []float64, a AttentionShape) (dq, dk, dv []float64) {
	a.check(q, k, v)
	wantLen("do", len(do), len(q))
	wantLen("o", len(o), len(q))
	wantLen("lse", len(lse), len(a.FirstKey), a.H)
	dq, dk, dv = make([]float64, len(q)), make([]float64, len(k)), make([]float64, len(v))
	for t, first := range a.FirstKey {
		for head := range a.H {
			kvHead := head / (a.H / a.KVH)
			query, dOut := a.row(q, t, a.H, head), a.row(do, t, a.H, head)
			dQuery := a.row(dq, t, a.H, head)
			delta := dot(dOut, a.row(o, t, a.H, head))
			for j := int(first); j <= t+a.QueryOffset; j++ {
				key, value := a.row(k, j, a.KVH, kvHead), a.row(v, j, a.KVH, kvHead)
				score := SoftCap(a.Scale*dot(query, key), a.SoftCap)
				p := math.Exp(score - lse[t*a.H+head])
				ds := p * (dot(dOut, value) - delta) * softCapSlope(score, a.SoftCap)
				addScaled(dQuery, a.Scale*ds, key)
				addScaled(a.row(dk, j, a.KVH, kvHead), a.Scale*ds, query)
				addScaled(a.row(dv, j, a.KVH, kvHead), p, dOut)
			}
		}
	}
	return dq, dk, dv
}
