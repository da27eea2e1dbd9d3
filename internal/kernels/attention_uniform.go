package kernels

import "qlora-wgpu/gpu"

// For CPU devices attention has variants that read q, k, v and the output's gradient through uniform arrays: a dispatch takes one window of rows and one of keys
// of a key/value head, and the next window of keys (for dk and dv: of rows) goes on from what it left.

// uniformAttention is the name of these variants.
const uniformAttention = "uniform"

type attentionForwardUniformParams struct {
	FirstRow, EndRow, FirstKey, EndKey, KvHead, Heads, GroupHeads, HeadDim4, QueryOffset, Resume uint32
	Scale                                                                                        float32
}

type attentionBackwardKeyValueUniformParams struct {
	FirstKey, EndKey, FirstRow, EndRow, FirstQuery, KvHead, Heads, KvHeads, HeadDim4, Resume uint32
	Scale                                                                                    float32
}

var (
	attentionForwardUniform          = define("attention_forward_uniform", "uuuiww", attentionForwardUniformParams{})
	attentionBackwardQueryUniform    = define("attention_backward_query_uniform", "uuuuiiw", attentionForwardUniformParams{})
	attentionBackwardKeyValueUniform = define("attention_backward_key_value_uniform", "uuuuiiww", attentionBackwardKeyValueUniformParams{})
)

// uniformTile: the sums of what an invocation owns sit in private arrays, whose size decides how long a CPU device compiles: a minute for four rows at a head
// dimension of 256.
func (a Attention) uniformTile() attentionTile {
	return attentionTile{own: min(4, max(1, 256/a.HeadDim)), take: 8, width: 8}
}

func (a Attention) uniformConstants(tile map[string]uint32) map[string]uint32 {
	constants := with(tile, "HEAD4", uint32(a.HeadDim/4))
	delete(constants, "WIDTH")
	return constants
}

// rowWindows calls record for each window of rows of each key/value head and each window of keys that some of its rows see, first to last.
func (a Attention) rowWindows(q, k heads, record func(kvHead, rowWindow, keyWindow, groups int, pairs int64, p attentionForwardUniformParams)) {
	group := a.Heads / a.KVHeads
	for kvHead := range a.KVHeads {
		for w := range q.windows {
			first, end := q.span(w)
			seen := (end-1)/group + a.QueryOffset + 1 // keys
			for kw := 0; kw*k.each < seen; kw++ {
				firstKey, endKey := k.span(kw)
				record(kvHead, w, kw, a.uniformTile().groups(end-first), int64(end-first)*int64(min(endKey, seen)-firstKey), attentionForwardUniformParams{
					FirstRow: uint32(first), EndRow: uint32(end), FirstKey: uint32(firstKey), EndKey: uint32(endKey), KvHead: uint32(kvHead), Heads: uint32(a.Heads),
					GroupHeads: uint32(group), HeadDim4: uint32(a.HeadDim / 4), QueryOffset: uint32(a.QueryOffset), Resume: flag(kw > 0), Scale: a.Scale,
				})
			}
		}
	}
}

func attentionForwardWindows(rec *gpu.Recorder, o, lse, q, k, v *gpu.Tensor, a Attention) {
	pq, pk, pv := a.packQueries(rec, q), a.packKeys(rec, scratchKeys, k), a.packKeys(rec, scratchValues, v)
	spec := attentionForwardUniform.spec(a.uniformConstants(a.uniformTile().ownRows()))
	a.rowWindows(pq, pk, func(kvHead, w, kw, groups int, pairs int64, p attentionForwardUniformParams) {
		rec.Dispatch(spec, groups, pairs*int64(4*a.HeadDim+20), p,
			pq.window(kvHead, w), pk.window(kvHead, kw), pv.window(kvHead, kw), a.FirstKey.Single(), o.Single(), lse.Single())
	})
}

func attentionBackwardWindows(rec *gpu.Recorder, dq, dk, dv, do, q, k, v, stats *gpu.Tensor, a Attention) {
	pq, pk, pv := a.packQueries(rec, q), a.packKeys(rec, scratchKeys, k), a.packKeys(rec, scratchValues, v)
	pdo := packHeads(rec, scratchGradients, do, a.KVHeads, a.HeadDim)
	keyValue := attentionBackwardKeyValueUniform.spec(a.uniformConstants(a.uniformTile().ownKeys()))
	group := a.Heads / a.KVHeads
	for kvHead := range a.KVHeads {
		for kw := range pk.windows {
			firstKey, endKey := pk.span(kw)
			endKey = min(endKey, a.keysBackward(q.Rows, k.Rows))
			resume := a.Accumulate
			for w := range pq.windows {
				first, end := pq.span(w)
				last := w == pq.windows-1
				if endKey <= firstKey || (end-1)/group+a.QueryOffset < firstKey && !(last && !resume) {
					continue // no row of it sees a key of these; where none does at all, zeros are left
				}
				rec.Dispatch(keyValue, a.uniformTile().groups(endKey-firstKey), int64(end-first)*int64(endKey-firstKey)*int64(8*a.HeadDim+20), attentionBackwardKeyValueUniformParams{
					FirstKey: uint32(firstKey), EndKey: uint32(endKey), FirstRow: uint32(first), EndRow: uint32(end), FirstQuery: uint32(a.QueryOffset), KvHead: uint32(kvHead),
					Heads: uint32(a.Heads), KvHeads: uint32(a.KVHeads), HeadDim4: uint32(a.HeadDim / 4), Resume: flag(resume), Scale: a.Scale,
				}, pq.window(kvHead, w), pdo.window(kvHead, w), pk.window(kvHead, kw), pv.window(kvHead, kw), stats.Single(), a.LastQuery.Single(), dk.Single(), dv.Single())
				resume = true
			}
		}
	}
	query := attentionBackwardQueryUniform.spec(a.uniformConstants(a.uniformTile().ownRows()))
	a.rowWindows(pq, pk, func(kvHead, w, kw, groups int, pairs int64, p attentionForwardUniformParams) {
		rec.Dispatch(query, groups, pairs*int64(6*a.HeadDim+20), p,
			pq.window(kvHead, w), pdo.window(kvHead, w), pk.window(kvHead, kw), pv.window(kvHead, kw), stats.Single(), a.FirstKey.Single(), dq.Single())
	})
}

func (a Attention) packQueries(rec *gpu.Recorder, q *gpu.Tensor) heads {
	return packHeads(rec, scratchQueries, q, a.KVHeads, a.HeadDim)
}

func (a Attention) packKeys(rec *gpu.Recorder, scratch gpu.Scratch, k *gpu.Tensor) heads {
	return packHeads(rec, scratch, k, a.KVHeads, a.HeadDim)
}
