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

// How an answer ends.
const (
	EndStop        = "stop"         // by a stop token
	EndLength      = "length"       // by MaxTokens
	EndContextFull = "context full" // where the model holds no more tokens
	EndCancelled   = "cancelled"
)

// Result is what became of an answer.
type Result struct {
	Tokens       int    `json:"tokens"` // of the answer, without the stop token
	End          string `json:"end"`    // one of the ends above; empty after another error
	PromptTokens int    `json:"prompt_tokens"`
	Computed     int    `json:"computed_tokens"` // of the prompt; the others were held from the answer before
}

// Continue continues the prompt's ids token by token until a stop token, MaxTokens, the end of the generator's room, or
// until yield returns false. It hears ctx between tokens; what was answered until then is counted in the result.
func Continue(ctx context.Context, g *engine.Generator, s Sampling, prompt []uint32, yield func(id uint32) bool) (Result, error) {
	room := g.Room()
	r := Result{PromptTokens: len(prompt)}
	if len(prompt) == 0 || len(prompt) >= room {
		return r, usererr.New("generate", "", "the prompt has %d tokens, between 1 and %d are possible", len(prompt), room-1)
	}
	before := g.Computed
	rng := rand.New(rand.NewPCG(s.Seed, 1))
	sequence := slices.Clone(prompt)
	for r.Tokens < s.MaxTokens && len(sequence) <= room {
		logits, err := g.Logits(ctx, sequence)
		if r.Tokens == 0 {
			r.Computed = g.Computed - before
		}
		if err != nil {
			if ctx.Err() != nil {
				r.End = EndCancelled
			}
			return r, err
		}
		id, err := s.draw(logits, rng)
		if err != nil {
			return r, err
		}
		if slices.Contains(s.Stop, id) {
			r.End = EndStop
			return r, nil
		}
		r.Tokens++
		if !yield(uint32(id)) {
			return r, nil
		}
		sequence = append(sequence, uint32(id))
	}
	if r.End = EndLength; r.Tokens < s.MaxTokens {
		r.End = EndContextFull
	}
	return r, nil
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
