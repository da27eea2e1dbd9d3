package reference

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAttentionByHand(t *testing.T) {
	// The second query sees two keys with scores 0 and log 3: weights 1/4 and 3/4.
	q, k, v := []float64{1, 1}, []float64{0, 2 * math.Log(3)}, []float64{8, 4}
	o, lse := AttentionForward(q, k, v, AttentionShape{H: 1, KVH: 1, D: 1, Scale: 0.5, FirstKey: []uint32{0, 0}})
	requireClose(t, []float64{8, 5}, o)
	requireClose(t, []float64{0, math.Log(4)}, lse)
	// do = (0, 1): dp = v, delta = 5, ds = (1/4 * 3, 3/4 * -1)
	dq, dk, dv := AttentionBackward([]float64{0, 1}, q, k, v, o, lse, AttentionShape{H: 1, KVH: 1, D: 1, Scale: 0.5, FirstKey: []uint32{0, 0}})
	requireClose(t, []float64{0, 0.5 * -0.75 * 2 * math.Log(3)}, dq)
	requireClose(t, []float64{0.375, -0.375}, dk)
	requireClose(t, []float64{0.25, 0.75}, dv)

	// With a single key the output is its value: query heads 0 and 1 read key/value head 0, heads 2 and 3 head 1.
	o, _ = AttentionForward(random(1, 4), []float64{1, 2},
		[]float64{5, 7}, AttentionShape{H: 4, KVH: 2, D: 1, Scale: 1, FirstKey: []uint32{0}})
	requireClose(t, []float64{5, 5, 7, 7}, o)
}

func TestAttentionGradients(t *testing.T) {
	for name, a := range map[string]AttentionShape{
		"causal":         {H: 2, KVH: 2, D: 3, FirstKey: []uint32{0, 0, 0, 0, 0}},
		"grouped":        {H: 6, KVH: 2, D: 3, FirstKey: []uint32{0, 0, 0, 0, 0}},
		"segments":       {H: 2, KVH: 1, D: 4, FirstKey: []uint32{0, 0, 2, 2, 2}},
		"with a cache":   {H: 2, KVH: 1, D: 4, FirstKey: []uint32{0, 0, 0, 0, 0}, QueryOffset: 3},
		"sliding window": {H: 2, KVH: 2, D: 4, FirstKey: []uint32{0, 0, 1, 2, 3}},
		"soft cap":       {H: 2, KVH: 1, D: 4, FirstKey: []uint32{0, 0, 0, 0, 0}, SoftCap: 0.3},
	} {
		t.Run(name, func(t *testing.T) {
			a.Scale = 1 / math.Sqrt(float64(a.D))
			tokens := len(a.FirstKey)
			keys := tokens + a.QueryOffset
			q, do := random(1, tokens*a.H*a.D), random(2, tokens*a.H*a.D)
			k, v := random(3, keys*a.KVH*a.D), random(4, keys*a.KVH*a.D)
			loss := func() float64 {
				o, _ := AttentionForward(q, k, v, a)
				return dot(do, o)
			}
			o, lse := AttentionForward(q, k, v, a)
			dq, dk, dv := AttentionBackward(do, q, k, v, o, lse, a)
			requireGradient(t, dq, q, loss)
			requireGradient(t, dk, k, loss)
			requireGradient(t, dv, v, loss)
		})
	}
}

func TestAttentionSegmentsAreIndependent(t *testing.T) {
	a := AttentionShape{H: 4, KVH: 2, D: 8, Scale: 0.3, FirstKey: []uint32{0, 0, 0, 3, 3}}
	q, k, v := random(1, 5*32), random(2, 5*16), random(3, 5*16)
	o, _ := AttentionForward(q, k, v, a)
	a.FirstKey = []uint32{0, 0, 0}
	head, _ := AttentionForward(q[:3*32], k[:3*16], v[:3*16], a)
	a.FirstKey = []uint32{0, 0}
	tail, _ := AttentionForward(q[3*32:], k[3*16:], v[3*16:], a)
	requireClose(t, append(head, tail...), o)

	// One query at a time against the keys so far, as generation does, gives the same as all at once.
	a.FirstKey = []uint32{0, 0, 0, 0, 0}
	o, _ = AttentionForward(q, k, v, a)
	for i := range 5 {
		step, _ := AttentionForward(q[i*32:i*32+32], k[:(i+1)*16], v[:(i+1)*16],
			AttentionShape{H: 4, KVH: 2, D: 8, Scale: 0.3, FirstKey: []uint32{0}, QueryOffset: i})
		requireClose(t, o[i*32:i*32+32], step)
	}

	// Large scores do not overflow.
	for i := range q {
		q[i] *= 1e4
	}
	o, lse := AttentionForward(q, k, v, a)
	require.False(t, math.IsNaN(dot(o, o)+dot(lse, lse)) || math.IsInf(dot(o, o)+dot(lse, lse), 0))
	a.FirstKey[0] = 1
	require.PanicsWithValue(t, "reference: query 0 sees keys 1 to 0 of 5", func() { AttentionForward(q, k, v, a) })
}
