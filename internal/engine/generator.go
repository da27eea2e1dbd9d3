package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

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
	if err := e.Model.SetMaxPositions(maxTokens); err != nil {
		return nil, err
	}
	cache, err := model.NewCache(e.Device, shape.Layers, maxTokens, shape.KVWidth)
	if large := new(gpu.TooLarge); errors.As(err, &large) {
		return nil, usererr.New("plan memory", "", "a prompt with its answer, %d tokens: %w", maxTokens, err).Hinted("lower max_tokens")
	} else if err != nil {
		return nil, err
	}
	g := &Generator{engine: e, cache: cache}
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

// Room is how many tokens a sequence can have.
func (g *Generator) Room() int { return g.cache.K[0].Rows }

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

// Dry records an answer's first passes without running them.
func (g *Generator) Dry(rec *gpu.Recorder, prompt []uint32) {
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

// Logits continues the sequence with ids, or begins a new one, and returns the logits [vocabulary] after the last of
// them. Errors are ErrFault and ctx's.
func (g *Generator) Logits(ctx context.Context, ids []uint32, begin bool) ([]float32, error) {
	if begin {
		g.cache.Length = 0
	}
	e := g.engine
	var out *gpu.Tensor
	for len(ids) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, program := min(len(ids), prefillChunk), programPrefill
		if n == 1 {
			program = programDecode
		}
		rec := e.Device.Record("generate")
		e.begin(program)
		out = g.pass(rec, ids[:n])
		e.arena.End()
		if err := rec.Submit(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFault, err)
		}
		ids = ids[n:]
	}
	r := out.Single()
	data, err := e.Device.Read(ctx, gpu.Range{Buffer: r.Buffer, Offset: r.Offset, Size: out.Bytes()})
	if err != nil {
		return nil, e.ReadError(ctx, err)
	}
	logits := make([]float32, e.Model.Shape().Vocab)
	for i := range logits {
		logits[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return logits, nil
}
