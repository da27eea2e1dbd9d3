package export_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// difference is how two computations of the same logits differ.
type difference struct {
	mean, most float64 // KL divergence of the second from the first over the positions, in nats
	noise      float64 // root mean square of what logits differ by, each position's mean taken off
	differ     int     // positions whose likeliest token is another
	wrong      string  // one of those where the first is sure beyond the noise; empty: none
}

func (d difference) String() string {
	return fmt.Sprintf("KL %.1e on average, %.1e at most, noise %.1e, %d with another likeliest token", d.mean, d.most, d.noise, d.differ)
}

// sure is how many times the noise the likeliest token has to be ahead to count.
const sure = 6

// compare compares logits [positions, vocab].
func compare(t *testing.T, want, got []float64, vocab int) (d difference) {
	t.Helper()
	require.Len(t, got, len(want))
	require.NotEmpty(t, want)
	positions := len(want) / vocab
	for at := range positions {
		a, b := want[at*vocab:(at+1)*vocab], got[at*vocab:(at+1)*vocab]
		kl, shift := divergence(a, b), 0.0
		require.False(t, math.IsNaN(kl), "position %d", at)
		for i := range a {
			shift += (b[i] - a[i]) / float64(vocab)
		}
		for i := range a {
			d.noise += (b[i] - a[i] - shift) * (b[i] - a[i] - shift)
		}
		d.mean, d.most = d.mean+kl/float64(positions), max(d.most, kl)
	}
	d.noise = math.Sqrt(d.noise / float64(len(want)))
	for at := range positions {
		a, b := want[at*vocab:(at+1)*vocab], got[at*vocab:(at+1)*vocab]
		i, k := likeliest(a), likeliest(b)
		if i != k {
			d.differ++
		}
		if a[i]-a[k] > sure*d.noise {
			d.wrong = fmt.Sprintf("position %d: token %d has the logits %g and %g, token %d %g and %g", at, i, a[i], b[i], k, a[k], b[k])
		}
	}
	return d
}

func likeliest(logits []float64) int { return slices.Index(logits, slices.Max(logits)) }

// divergence is that of the distribution of b from a's, Σ p (ln p - ln q).
func divergence(a, b []float64) (kl float64) {
	normalizer := func(x []float64) float64 {
		most, sum := slices.Max(x), 0.0
		for _, v := range x {
			sum += math.Exp(v - most)
		}
		return most + math.Log(sum)
	}
	za, zb := normalizer(a), normalizer(b)
	for i := range a {
		kl += math.Exp(a[i]-za) * (a[i] - za - b[i] + zb)
	}
	return kl
}

func TestDivergence(t *testing.T) {
	a, b := []float64{0, math.Log(3)}, []float64{5, 5}
	require.InDelta(t, 0.25*math.Log(0.5)+0.75*math.Log(1.5), divergence(a, b), 1e-12)
	require.Zero(t, divergence(a, []float64{7, 7 + math.Log(3)}))
	d := compare(t, []float64{0, 9, 9, 0}, []float64{0, 9, 0, 9}, 2)
	require.Equal(t, 1, d.differ)
}
