package kernels

import "qlora-wgpu/gpu"

// For CPU devices attention has variants that read q, k, v and the output's gradient through uniform arrays: a dispatch
// takes one window of rows and one of keys of a key/value head, and the next window of keys (for dk and dv: of rows)
// goes on from what it left.

// uniformAttention is the name of these variants.
const uniformAttention = "uniform"

type attentionForwardUniformParams struct {
	FirstRow, EndRow, FirstKey, EndKey, KvHead, Heads, GroupHeads, HeadDim4, QueryOffset, Resume uint32
	Scale                                                                                        float32
	Cap                                                                                          float32
}

type attentionBackwardKeyValueUniformParams struct {
	FirstKey, EndKey, FirstRow, EndRow, FirstQuery, KvHead, Heads, KvHeads, HeadDim4, Resume uint32
	Scale                                                                                    float32
	Cap                                                                                      float32
}

var (
	attentionForwardUniform          = define("attention_forward_uniform", "uuuiww", attentionForwardUniformParams{})
	attentionBackwardQueryUniform    = define("attention_backward_query_uniform", "uuuuiiw", attentionForwardUniformParams{})
	attentionBackwardKeyValueUniform = define("attention_backward_key_value_uniform", "uuuuiiww", attentionBackwardKeyValueUniformParams{})
)

func uniformAttentionVariant(shaders ...*shader) Variant {
	return Variant{Name: uniformAttention, Tolerance: attentionTolerance, made: cpus, parts: 1, shaders: shaders}
}

// uniformTile: the sums of what an invocation owns sit in private arrays, whose size decides how long a CPU device
// compiles: a minute for four rows at a head dimension of 256.
func (a attention) uniformTile() attentionTile {
	return attentionTile{own: min(4, max(1, 256/a.HeadDim)), take: 8, width: 8}
}

func (a attention) uniformConstants(tile map[string]uint32) map[string]uint32 {
	constants := with(tile, "HEAD4", uint32(a.HeadDim/4))
	delete(constants, "WIDTH")
	return a.cappedTile(constants)
}

// rowWindow is a window of rows of a key/value head and one of keys that some of its rows see.
type rowWindow struct {
	kvHead, rows, keys int // the last two count windows
	groups             int
	pairs              int64
	params             attentionForwardUniformParams
}

// rowWindows calls record for each window of rows of each key/value head and each window of keys that some of its rows
// see, first to last.
func (a attention) rowWindows(q, k heads, record func(w rowWindow)) {
	group := a.Heads / a.KVHeads
	for kvHead := range a.KVHeads {
		for w := range q.windows {
			first, end := q.span(w)
			seen := (end-1)/group + a.QueryOffset + 1 // keys
			begin := a.firstSeen(first) / k.each
			for kw := begin; kw*k.each < seen; kw++ {
				firstKey, endKey := k.span(kw)
				pairs := int64(end-first) * int64(min(endKey, seen)-firstKey)
				groups := a.uniformTile().groups(end - first)
				record(rowWindow{kvHead: kvHead, rows: w, keys: kw, groups: groups, pairs: pairs, params: attentionForwardUniformParams{
					FirstRow: uint32(first), EndRow: uint32(end), FirstKey: uint32(firstKey), EndKey: uint32(endKey), KvHead: uint32(kvHead),
					Heads: uint32(a.Heads), GroupHeads: uint32(group), HeadDim4: uint32(a.HeadDim / 4), QueryOffset: uint32(a.QueryOffset),
					Resume: flag(kw > begin), Scale: a.Scale, Cap: a.SoftCap,
				}})
			}
		}
	}
}

func (a attention) forwardByWindows(rec *gpu.Recorder, _ *Variant) {
	q, k, v := a.packHeads(rec, scratchQueries, a.Q), a.packHeads(rec, scratchKeys, a.K), a.packHeads(rec, scratchValues, a.V)
	spec := attentionForwardUniform.spec(a.uniformConstants(a.uniformTile().ownRows()))
	a.rowWindows(q, k, func(w rowWindow) {
		rec.Dispatch(spec, w.groups, w.pairs*int64(4*a.HeadDim+20), w.params,
			q.window(w.kvHead, w.rows), k.window(w.kvHead, w.keys), v.window(w.kvHead, w.keys), a.FirstKey.Single(), a.O.Single(), a.LSE.Single())
	})
}

func (a attention) backwardByWindows(rec *gpu.Recorder, _ *Variant) {
	a.delta(rec)
	q, k, v := a.packHeads(rec, scratchQueries, a.Q), a.packHeads(rec, scratchKeys, a.K), a.packHeads(rec, scratchValues, a.V)
	do := a.packHeads(rec, scratchGradients, a.DO)
	keyValue := attentionBackwardKeyValueUniform.spec(a.uniformConstants(a.uniformTile().ownKeys()))
	group := a.Heads / a.KVHeads
	for kvHead := range a.KVHeads {
		for kw := range k.windows {
			firstKey, endKey := k.span(kw)
			endKey = min(endKey, a.keysBackward())
			resume := a.Accumulate
			for w := range q.windows {
				first, end := q.span(w)
				last := w == q.windows-1
				unseen := (end-1)/group+a.QueryOffset < firstKey || a.firstSeen(first) >= endKey
				if endKey <= firstKey || unseen && !(last && !resume) {
					continue // no row of it sees a key of these; where none does at all, zeros are left
				}
				cost := int64(end-first) * int64(endKey-firstKey) * int64(8*a.HeadDim+20)
				rec.Dispatch(keyValue, a.uniformTile().groups(endKey-firstKey), cost, attentionBackwardKeyValueUniformParams{
					FirstKey: uint32(firstKey), EndKey: uint32(endKey), FirstRow: uint32(first), EndRow: uint32(end), FirstQuery: uint32(a.QueryOffset),
					KvHead: uint32(kvHead), Heads: uint32(a.Heads), KvHeads: uint32(a.KVHeads), HeadDim4: uint32(a.HeadDim / 4),
					Resume: flag(resume), Scale: a.Scale, Cap: a.SoftCap,
				}, q.window(kvHead, w), do.window(kvHead, w), k.window(kvHead, kw), v.window(kvHead, kw),
					a.Stats.Single(), a.LastQuery.Single(), a.DK.Single(), a.DV.Single())
				resume = true
			}
		}
	}
	query := attentionBackwardQueryUniform.spec(a.uniformConstants(a.uniformTile().ownRows()))
	a.rowWindows(q, k, func(w rowWindow) {
		rec.Dispatch(query, w.groups, w.pairs*int64(6*a.HeadDim+20), w.params,
			q.window(w.kvHead, w.rows), do.window(w.kvHead, w.rows), k.window(w.kvHead, w.keys), v.window(w.kvHead, w.keys),
			a.Stats.Single(), a.FirstKey.Single(), a.DQ.Single())
	})
}

func (a attention) packHeads(rec *gpu.Recorder, scratch gpu.Scratch, x *gpu.Tensor) heads {
	return packHeads(rec, scratch, x, a.KVHeads, a.HeadDim)
}
