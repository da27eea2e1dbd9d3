package kernels

import "qlora-wgpu/gpu"

// For GPUs attention has variants by products of tiles in workgroup memory, from q, k, v and the output's gradient as packTiles lays them out.

// sharedAttention is the name of these variants: 64 tokens by 32 keys.
const sharedAttention = "shared_64x32"

type attentionForwardSharedParams struct {
	Blocks, Tokens, Heads, KvHeads, Q16, K16, QueryOffset uint32
	Scale                                                 float32
}

type attentionBackwardKeySharedParams struct {
	KeyGroups, Tokens, FirstQuery, Queries, Accumulate, Heads, KvHeads, Q16, K16 uint32
	Scale                                                                        float32
}

var (
	attentionForwardShared       = define("attention_forward_shared", "iiiiww", attentionForwardSharedParams{})
	attentionBackwardQueryShared = define("attention_backward_query_shared", "iiiiiwii", attentionForwardSharedParams{})
	attentionBackwardKeyShared   = define("attention_backward_key_shared", "iiiiiwii", attentionBackwardKeySharedParams{})
	attentionBackwardValueShared = define("attention_backward_value_shared", "iiiiiw", attentionBackwardKeySharedParams{})
)

// sharedFits reports whether the shared variants have this head dimension, whose sums an invocation holds in registers, and can bind q and k packed.
func (a Attention) sharedFits(rec *gpu.Recorder, q, k *gpu.Tensor) bool {
	most := max(packedBytes(q), packedBytes(k))
	return a.HeadDim%32 == 0 && a.HeadDim <= 128 && most <= rec.Device().Limits.MaxTensorBytes()
}

// sharedConstants are those of the shared kernels.
func (a Attention) sharedConstants() map[string]uint32 {
	head4 := a.HeadDim / 4
	rows := ceilDiv(head4, 16)
	return map[string]uint32{"HEAD4": uint32(head4), "NB": uint32(head4 / 8), "RK": uint32(rows), "VK": uint32(16 / rows), "VL": uint32(16 / rows * head4 / 64)}
}

func (a Attention) sharedParams(q, k blocks) attentionForwardSharedParams {
	return attentionForwardSharedParams{
		uint32(ceilDiv(q.tokens, blockTokens)), uint32(q.tokens), uint32(a.Heads), uint32(a.KVHeads), uint32(q.padded16), uint32(k.padded16), uint32(a.QueryOffset), a.Scale,
	}
}

func attentionForwardByTiles(rec *gpu.Recorder, o, lse, q, k, v *gpu.Tensor, a Attention) {
	pq, pk := packTilesIn(rec, scratchQueryTiles, q), packTilesIn(rec, scratchKeyTiles, k)
	p := a.sharedParams(pq, pk)
	rec.Dispatch(attentionForwardShared.spec(a.sharedConstants()), int(p.Blocks)*a.Heads, a.pairs(q.Rows)*int64(4*a.HeadDim+20), p,
		pq.all(), pk.all(), v.Single(), a.FirstKey.Single(), o.Single(), lse.Single())
}

func attentionBackwardByTiles(rec *gpu.Recorder, dq, dk, dv, do, q, k, v, stats *gpu.Tensor, a Attention) {
	pq, pk := packTilesIn(rec, scratchQueryTiles, q), packTilesIn(rec, scratchKeyTiles, k)
	pv, pdo := packTilesIn(rec, scratchValueTiles, v), packTilesIn(rec, scratchGradientTiles, do)
	T, keys, pairs := q.Rows, a.keysBackward(q.Rows, k.Rows), a.pairs(q.Rows)
	groups := ceilDiv(keys, 32)
	p := attentionBackwardKeySharedParams{
		uint32(groups), uint32(keys), uint32(a.QueryOffset), uint32(T), flag(a.Accumulate), uint32(a.Heads), uint32(a.KVHeads), uint32(pq.padded16), uint32(pk.padded16), a.Scale,
	}
	rec.Dispatch(attentionBackwardValueShared.spec(a.sharedConstants()), groups*a.KVHeads, pairs*int64(4*a.HeadDim+20), p,
		pq.all(), pk.all(), do.Single(), stats.Single(), a.LastQuery.Single(), dv.Single())
	rec.Dispatch(attentionBackwardKeyShared.spec(a.sharedConstants()), groups*a.KVHeads, pairs*int64(6*a.HeadDim+20), p,
		pq.all(), pk.all(), q.Single(), stats.Single(), a.LastQuery.Single(), dk.Single(), pv.all(), pdo.all())
	rec.Dispatch(attentionBackwardQueryShared.spec(a.sharedConstants()), ceilDiv(T, blockTokens)*a.Heads, pairs*int64(6*a.HeadDim+20), a.sharedParams(pq, pk),
		pq.all(), pk.all(), k.Single(), a.FirstKey.Single(), stats.Single(), dq.Single(), pv.all(), pdo.all())
}
