package answer

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// Sampling says how the next token is drawn, and which ends an answer.
type Sampling struct {
	settings.Sampling
	Stop []int // end-of-turn tokens
}

// Continue continues the prompt's ids token by token until a stop token, MaxTokens, the end of the generator's room, or
// until yield returns false.
func Continue(ctx context.Context, g *engine.Generator, s Sampling, prompt []uint32, yield func(id uint32) bool) error {
	room := g.Room()
	if len(prompt) == 0 || len(prompt) >= room {
		return usererr.New("generate", "", "the prompt has %d tokens, between 1 and %d are possible", len(prompt), room-1)
	}
	rng := rand.New(rand.NewPCG(s.Seed, 1))
	next, length := prompt, 0
	for n := 0; n < s.MaxTokens && length+len(next) <= room; n++ {
		logits, err := g.Logits(ctx, next, n == 0)
		length += len(next)
		if err != nil {
			return err
		}
		id, err := s.draw(logits, rng)
		if err != nil {
			return err
		}
		if slices.Contains(s.Stop, id) || !yield(uint32(id)) {
			return nil
		}
		next = []uint32{uint32(id)}
	}
	return nil
}

// draw picks a token. Probabilities are computed in float64; ties go to the lower id.
func (s Sampling) draw(logits []float32, rng *rand.Rand) (int, error) {
	best := 0
	for i, v := range logits {
		if v != v {
			return 0, fmt.Errorf("%w: the logits are not finite", engine.ErrFault)
		}
		if v > logits[best] {
			best = i
		}
	}
	if s.Temperature <= 0 {
		return best, nil
	}
	type candidate struct {
		id int
		p  float64
	}
	all := make([]candidate, len(logits))
	total := 0.0
	for i, v := range logits {
		p := math.Exp(float64(v-logits[best]) / s.Temperature)
		all[i] = candidate{i, p}
		total += p
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		switch {
		case a.p > b.p:
			return -1
		case a.p < b.p:
			return 1
		}
		return 0
	})
	nucleus := 0.0
	for i, c := range all {
		if nucleus += c.p; nucleus >= s.TopP*total {
			all = all[:i+1]
			break
		}
	}
	u := rng.Float64() * nucleus
	for _, c := range all {
		if u -= c.p; u < 0 {
			return c.id, nil
		}
	}
	return all[len(all)-1].id, nil
}
