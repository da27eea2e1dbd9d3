package reference

// NMSE is the normalised mean squared error, sum((got-want)^2) / sum(want^2). When want is all zeros it is 0 for an
// exact got and +Inf otherwise; a NaN in got gives NaN, which no bound accepts.
func NMSE(got, want []float64) float64 {
	wantLen("got", len(got), len(want))
	var errors, power float64
	for i, w := range want {
		d := got[i] - w
		errors += d * d
		power += w * w
	}
	if errors == 0 {
		return 0
	}
	return errors / power
}
