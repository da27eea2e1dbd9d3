package reference

import "testing"

func TestLoRA(t *testing.T) {
	// h = 1*3 + 2*4 = 11, y = 0.5 * (11*1, 11*-2)
	adapter := &LoRA{Rank: 1, Scaling: 0.5, A: []float64{3, 4}, B: []float64{1, -2}}
	requireClose(t, []float64{5.5, -11}, LoRAForward([]float64{1, 2}, adapter, 1, 2, 2))
	// dh = 0.5 * (1*1 + 1*-2) = -0.5
	da, db, dx := LoRABackward([]float64{1, 1}, []float64{1, 2}, adapter, 1, 2, 2)
	requireClose(t, []float64{-0.5, -1}, da)
	requireClose(t, []float64{5.5, 5.5}, db)
	requireClose(t, []float64{-1.5, -2}, dx)

	const tokens, n, k, r = 4, 5, 6, 3
	x, a, b, dy := random(1, tokens*k), random(2, r*k), random(3, n*r), random(4, tokens*n)
	_, mask := Dropout(x, 1, 2, 0.3)
	for _, mask := range [][]float64{nil, mask} {
		adapter := &LoRA{Rank: r, Scaling: 0.25, A: a, B: b, Mask: mask}
		loss := func() float64 { return dot(dy, LoRAForward(x, adapter, tokens, n, k)) }
		da, db, dx := LoRABackward(dy, x, adapter, tokens, n, k)
		requireGradient(t, da, a, loss)
		requireGradient(t, db, b, loss)
		requireGradient(t, dx, x, loss)
	}
}
