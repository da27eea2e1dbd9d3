package kernels

import "qlora-wgpu/gpu"

// For GPUs attention has variants by products of tiles in workgroup memory, from q, k, v and the output's gradient as
// packTiles lays them out.

// sharedAttention is the name of these variants: 64 tokens by 32 keys.
const sharedAttention = "shared_64x32"

type attentionForwardSharedParams struct {
	Blocks, Tokens, Heads, KvHeads, Q16, K16, QueryOffset uint32
	Scale                                                 float32
	Cap                                                   float32
}

type attentionBackwardKeySharedParams struct {
	KeyGroups, Tokens, FirstQuery, Queries, Accumulate, Heads, KvHeads, Q16, K16 uint32
	Scale                                                                        float32
	Cap                                                                          float32
}

var (
	attentionForwardShared       = define("attention_forward_shared", "iiiiww", attentionForwardSharedParams{})
	attentionBackwardQueryShared = define("attention_backward_query_shared", "iiiiiwii", attentionForwardSharedParams{})
	attentionBackwardKeyShared   = define("attention_backward_key_shared", "iiiiiwii", attentionBackwardKeySharedParams{})
	attentionBackwardValueShared = define("attention_backward_value_shared", "iiiiiw", attentionBackwardKeySharedParams{})
)

func sharedVariant(shaders ...*shader) Variant {
	return Variant{Name: sharedAttention, Tolerance: attentionTolerance, made: graphics, parts: 1, shaders: shaders}
}

// attentionForwards and attentionBackwards are the variants beside those by tiles in registers.
var (
	attentionForwards = []variant[attention]{
		{Variant: uniformAttentionVariant(attentionForwardUniform), run: attention.forwardByWindows},
		variant[attention]{
			Variant: sharedVariant(attentionForwardShared), run: attention.forwardByTiles,
		}.orElse(attention.sharedFits, "tile_1x16"),
	}
	attentionBackwards = []variant[attention]{
		{Variant: uniformAttentionVariant(attentionBackwardQueryUniform, attentionBackwardKeyValueUniform), run: attention.backwardByWindows},
		variant[attention]{
			Variant: sharedVariant(attentionBackwardQueryShared, attentionBackwardKeyShared, attentionBackwardValueShared),
			run:     attention.backwardByTiles,
		}.orElse(attention.sharedFits, "tile_1x8"),
	}
)

// sharedFits reports whether the shared variants have this head dimension, whose sums an invocation holds in registers,
// and can bind q and k packed.
func (a attention) sharedFits(dev *gpu.Device, _ *Variant) bool {
	most := max(packedBytes(a.Q), packedBytes(a.K))
	return (a.HeadDim%32 == 0 && a.HeadDim <= 128 || a.HeadDim == 256) && most <= dev.Limits.MaxTensorBytes()
}

// sharedLanes is the invocations of a workgroup: as many as keep the sums of each, of 64 tokens by HeadDim columns, at
// 128 numbers.
func (a attention) sharedLanes() int {
	if a.HeadDim > 128 {
		return 128
	}
	return 64
}

// sharedConstants are those of the shared kernels; so many invocations stand side by side over the columns of a sum.
func (a attention) sharedConstants(wide int) map[string]uint32 {
	head4, lanes := a.HeadDim/4, a.sharedLanes()
	rows := ceilDiv(head4, 16)
	return a.capped(map[string]uint32{
		"LANES": uint32(lanes), "QUADS": uint32(128 / lanes), "PIECES": uint32(256 / lanes),
		"HEAD4": uint32(head4), "NB": uint32(head4 / wide), "RK": uint32(rows), "VK": uint32(16 / rows), "VL": uint32(16 / rows * head4 / lanes),
	})
}

// tokenConstants are those of the forward and of the queries' gradient, where an invocation has the sums of the tokens
// whose scores it has; keyConstants those of the gradients of keys and values, where it has the sums of four keys.
func (a attention) tokenConstants() map[string]uint32 { return a.sharedConstants(8) }
func (a attention) keyConstants() map[string]uint32   { return a.sharedConstants(a.sharedLanes() / 8) }

// sharedParams are those of the forward and of the queries' gradient, of q and k in blocks.
func (a attention) sharedParams(q, k blocks) attentionForwardSharedParams {
	return attentionForwardSharedParams{
		Blocks: uint32(ceilDiv(q.tokens, BlockTokens)), Tokens: uint32(q.tokens), Heads: uint32(a.Heads), KvHeads: uint32(a.KVHeads),
		Q16: uint32(q.padded16), K16: uint32(k.padded16), QueryOffset: uint32(a.QueryOffset), Scale: a.Scale, Cap: a.SoftCap,
	}
}

func (a attention) forwardByTiles(rec *gpu.Recorder, _ *Variant) {
	q, k := packTilesIn(rec, scratchQueryTiles, a.Q), packTilesIn(rec, scratchKeyTiles, a.K)
	p := a.sharedParams(q, k)
	rec.Dispatch(attentionForwardShared.spec(a.tokenConstants()), int(p.Blocks)*a.Heads, a.pairs()*int64(4*a.HeadDim+20), p,
		q.all(), k.all(), a.V.Single(), a.FirstKey.Single(), a.O.Single(), a.LSE.Single())
}

func (a attention) backwardByTiles(rec *gpu.Recorder, _ *Variant) {
	a.delta(rec)
	q, k := packTilesIn(rec, scratchQueryTiles, a.Q), packTilesIn(rec, scratchKeyTiles, a.K)
	v, do := packTilesIn(rec, scratchValueTiles, a.V), packTilesIn(rec, scratchGradientTiles, a.DO)
	tokens, keys := a.Q.Rows, a.keysBackward()
	products := func(n int) int64 { return a.pairs() * int64(2*n*a.HeadDim+20) } // and an exponential
	groups := ceilDiv(keys, 32)
	p := attentionBackwardKeySharedParams{
		KeyGroups: uint32(groups), Tokens: uint32(keys), FirstQuery: uint32(a.QueryOffset), Queries: uint32(tokens),
		Accumulate: flag(a.Accumulate), Heads: uint32(a.Heads), KvHeads: uint32(a.KVHeads),
		Q16: uint32(q.padded16), K16: uint32(k.padded16), Scale: a.Scale, Cap: a.SoftCap,
	}
	rec.Dispatch(attentionBackwardValueShared.spec(a.keyConstants()), groups*a.KVHeads, products(2), p,
		q.all(), k.all(), a.DO.Single(), a.Stats.Single(), a.LastQuery.Single(), a.DV.Single())
	rec.Dispatch(attentionBackwardKeyShared.spec(a.keyConstants()), groups*a.KVHeads, products(3), p,
		q.all(), k.all(), a.Q.Single(), a.Stats.Single(), a.LastQuery.Single(), a.DK.Single(), v.all(), do.all())
	queries := attentionBackwardQueryShared.spec(a.tokenConstants())
	rec.Dispatch(queries, ceilDiv(tokens, BlockTokens)*a.Heads, products(3), a.sharedParams(q, k),
		q.all(), k.all(), a.K.Single(), a.FirstKey.Single(), a.Stats.Single(), a.DQ.Single(), v.all(), do.all())
}
