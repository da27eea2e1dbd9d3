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

// Generator gives the logits behind token lists. It keeps the keys and values of the last one: what another begins with
// the same tokens is not computed again.
type Generator struct {
	engine *Engine
	cache  *model.Cache
	room   int
	held   []uint32 // the tokens whose keys and values the cache has
	length int      // of the list that they were computed as a part of
	bare   bool     // the adapter is left out
	// Computed counts the tokens that passed through the model.
	Computed int
}

// NewGenerator reserves the memory of sequences of up to maxTokens, prompt and answer together.
func (e *Engine) NewGenerator(maxTokens int) (*Generator, error) {
	shape := e.Model.Shape()
	maxTokens = min(maxTokens, shape.MaxPositions)
	if err := e.Model.SetMaxPositions(maxTokens); err != nil {
		return nil, err
	}
	g := &Generator{engine: e}
	if err := g.makeCache(maxTokens); err != nil {
		return nil, err
	}
	for program, tokens := range map[string]int{programPrefill: min(prefillChunk, maxTokens), programDecode: 1} {
		err := e.record(program, tokens, func(rec *gpu.Recorder) {
			g.pass(rec, make([]uint32, tokens), tokens)
		})
		if err == nil {
			err = e.reserve(tokens)
		}
		if err != nil {
			g.Release()
			return nil, err
		}
	}
	return g, nil
}

func (g *Generator) makeCache(tokens int) (err error) {
	g.room = tokens
	g.cache, err = g.engine.Model.NewCache(tokens, prefillChunk)
	if large := new(gpu.TooLarge); errors.As(err, &large) {
		return usererr.New("plan memory", "", "a prompt with its answer, %d tokens: %w", tokens, err).Hinted("lower max_tokens")
	}
	return err
}

// withoutAdapter is a generator of the base model with as much room. The programs are g's.
func (g *Generator) withoutAdapter() (*Generator, error) {
	base := &Generator{engine: g.engine, bare: true}
	if err := base.makeCache(g.Room()); err != nil {
		return nil, err
	}
	return base, nil
}

// Room is how many tokens a sequence can have.
func (g *Generator) Room() int { return g.room }

// Release frees the cache.
func (g *Generator) Release() { g.cache.Release() }

// pass records the model over new tokens of a list of so many and returns the last one's logits.
func (g *Generator) pass(rec *gpu.Recorder, ids []uint32, length int) *gpu.Tensor {
	in := model.Input{IDs: ids, Positions: make([]uint32, len(ids)), FirstKey: make([]uint32, len(ids)), Targets: make([]int32, len(ids))}
	for i := range ids {
		in.Positions[i], in.Targets[i] = uint32(g.cache.Length()+i), -100
	}
	p := model.NewPass(lora.Pass{Rec: rec, Arena: g.engine.arena, Bare: g.bare}, in, model.Size{Tokens: len(ids), Chunk: prefillChunk})
	p.Cache, p.Positions = g.cache, length
	return g.engine.Model.Logits(p)
}

// Dry records an answer's first passes without running them. What is held is forgotten.
func (g *Generator) Dry(rec *gpu.Recorder, prompt []uint32) {
	g.Forget()
	for _, part := range []struct {
		program string
		ids     []uint32
	}{{programPrefill, prompt[:min(len(prompt), prefillChunk)]}, {programDecode, prompt[:1]}} {
		g.engine.arena.Begin(part.program)
		g.pass(rec, part.ids, len(prompt))
		g.engine.arena.End()
	}
}

// Held is how many of a list's first tokens Logits would not compute again: those in common with the list before, but
// the last, whose logits are wanted. Layers with a window hold the last tokens alone: a list that differs from the one
// before further back than these reach has nothing in common with it.
func (g *Generator) Held(ids []uint32) int {
	n := 0
	for n < len(ids)-1 && n < len(g.held) && ids[n] == g.held[n] {
		n++
	}
	// Other rotations: as transformers computes such a cache anew.
	if !g.engine.Model.SameRotation(g.length, len(ids)) || !g.cache.Reaches(n) {
		return 0
	}
	return n
}

// Forget has all tokens computed anew. What is held belongs to the weights by which it was computed: whoever changes
// the adapter forgets.
func (g *Generator) Forget() {
	g.held = nil
	g.cache.Rewind(0)
}

// Logits are those [vocabulary] behind a list of 1 to Room tokens, of which those that are Held are not computed again.
// It hears ctx before every piece of the list; what was computed until then is held. Errors are ErrFault and ctx's.
func (g *Generator) Logits(ctx context.Context, ids []uint32) ([]float32, error) {
	e := g.engine
	g.held, g.length = g.held[:g.Held(ids)], len(ids)
	g.cache.Rewind(len(g.held))
	var out *gpu.Tensor
	for next := ids[len(g.held):]; len(next) > 0; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, program := min(len(next), prefillChunk), programPrefill
		if n == 1 {
			program = programDecode
		}
		rec := e.Device.Record("generate")
		e.begin(program)
		out = g.pass(rec, next[:n], len(ids))
		e.arena.End()
		if err := rec.Submit(); err != nil {
			g.Forget()
			return nil, fmt.Errorf("%w: %w", ErrFault, err)
		}
		g.held, g.Computed = append(g.held, next[:n]...), g.Computed+n
		next = next[n:]
	}
	r := out.Single()
	data, err := e.Device.Read(ctx, gpu.Range{Buffer: r.Buffer, Offset: r.Offset, Size: out.Bytes()})
	if err != nil {
		if ctx.Err() == nil {
			g.Forget()
		}
		return nil, e.ReadError(ctx, err)
	}
	logits := make([]float32, e.Model.Shape().Vocab)
	for i := range logits {
		logits[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return logits, nil
}
