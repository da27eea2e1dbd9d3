package trainer

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// Sampling says how the next token is drawn.
type Sampling struct {
	MaxTokens   int
	Temperature float64 // 0: the likeliest token
	TopP        float64 // 1: all tokens
	Seed        uint64
	Stop        []int // end-of-turn tokens
}

// prefillChunk is how many prompt tokens pass through the model at once.
const prefillChunk = 256

// Generator continues token lists with a KV cache.
type Generator struct {
	engine *Engine
	cache  *model.Cache
}

// NewGenerator reserves the memory of sequences of up to maxTokens, prompt and answer together.
func (e *Engine) NewGenerator(maxTokens int) (*Generator, error) {
	shape := e.Model.Shape()
	maxTokens = min(maxTokens, shape.MaxPositions)
	cache, err := model.NewCache(e.Device, shape.Layers, maxTokens, shape.KVWidth)
	if err != nil {
		return nil, err
	}
	g := &Generator{engine: e, cache: cache}
	if err := e.Model.SetMaxPositions(maxTokens); err != nil {
		return nil, err
	}
	for program, tokens := range map[string]int{programPrefill: min(prefillChunk, maxTokens), programDecode: 1} {
		err := e.record(program, tokens, func(rec *gpu.Recorder) {
			g.pass(rec, make([]uint32, tokens))
			g.cache.Length = 0
		})
		if err == nil {
			err = e.reserve(tokens)
		}
		if err != nil {
			cache.Release()
			return nil, err
		}
	}
	return g, nil
}

// Release frees the cache.
func (g *Generator) Release() { g.cache.Release() }

// pass records the model over new tokens and returns the last one's logits.
func (g *Generator) pass(rec *gpu.Recorder, ids []uint32) *gpu.Tensor {
	in := model.Input{IDs: ids, Positions: make([]uint32, len(ids)), FirstKey: make([]uint32, len(ids)), Targets: make([]int32, len(ids))}
	for i := range ids {
		in.Positions[i], in.Targets[i] = uint32(g.cache.Length+i), -100
	}
	p := model.NewPass(lora.Pass{Rec: rec, Arena: g.engine.arena}, in, model.Size{Tokens: len(ids), Chunk: prefillChunk})
	p.Cache = g.cache
	return g.engine.Model.Logits(p)
}

// dry records an answer's first passes without running them.
func (g *Generator) dry(rec *gpu.Recorder, prompt []uint32) {
	for _, part := range []struct {
		program string
		ids     []uint32
	}{{programPrefill, prompt[:min(len(prompt), prefillChunk)]}, {programDecode, prompt[:1]}} {
		g.cache.Length = 0
		g.engine.arena.Begin(part.program)
		g.pass(rec, part.ids)
		g.engine.arena.End()
	}
	g.cache.Length = 0
}

// logits runs the tokens through the model and reads the last one's logits.
func (g *Generator) logits(ctx context.Context, ids []uint32) ([]float32, error) {
	e := g.engine
	var out *gpu.Tensor
	for len(ids) > 0 {
		n, program := min(len(ids), prefillChunk), programPrefill
		if n == 1 {
			program = programDecode
		}
		rec := e.Device.Record("generate")
		e.begin(program)
		out = g.pass(rec, ids[:n])
		e.arena.End()
		if err := rec.Submit(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrEngineFault, err)
		}
		ids = ids[n:]
	}
	r := out.Single()
	data, err := e.Device.Read(ctx, gpu.Range{Buffer: r.Buffer, Offset: r.Offset, Size: out.Bytes()})
	if err != nil {
		return nil, e.readError(ctx, err)
	}
	logits := make([]float32, e.Model.Shape().Vocab)
	for i := range logits {
		logits[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return logits, nil
}

// Logits continues the sequence with ids, or begins a new one, and returns the logits after the last of them.
func (g *Generator) Logits(ctx context.Context, ids []uint32, begin bool) ([]float32, error) {
	if begin {
		g.cache.Length = 0
	}
	return g.logits(ctx, ids)
}

// Generate continues the prompt's ids token by token until a stop token, MaxTokens, the cache's end, or yield returns false.
func (g *Generator) Generate(ctx context.Context, prompt []uint32, s Sampling, yield func(id uint32) bool) error {
	room := g.cache.K[0].Rows
	if len(prompt) == 0 || len(prompt) >= room {
		return usererr.New("generate", "", "the prompt has %d tokens, between 1 and %d are possible", len(prompt), room-1)
	}
	g.cache.Length = 0
	rng := rand.New(rand.NewPCG(s.Seed, 1))
	next := prompt
	for n := 0; n < s.MaxTokens && g.cache.Length+len(next) <= room; n++ {
		logits, err := g.logits(ctx, next)
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
			return 0, fmt.Errorf("%w: the logits are not finite", ErrEngineFault)
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
