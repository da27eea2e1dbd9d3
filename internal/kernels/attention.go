package kernels

import (
	"fmt"
	"slices"

	"qlora-wgpu/gpu"
)

// Attention describes causal attention with grouped key/value heads over packed segments.
type Attention struct {
	Heads, KVHeads, HeadDim int
	// Scale of the scores, usually 1/sqrt(HeadDim).
	Scale float32
	// FirstKey is U32 [T]: the first key a query sees, where its segment begins, counted over all keys.
	FirstKey *gpu.Tensor
	// LastQuery is U32 [S]: one past the last token of a key's segment. Only the backward needs it.
	LastQuery *gpu.Tensor
	// QueryOffset is the key at which query 0 sits: the tokens that a KV cache holds already, or those before a chunk of queries.
	QueryOffset int
	// Accumulate adds to dk and dv: another chunk of the queries has been there before.
	Accumulate bool
}

type attentionForwardParams struct {
	RowGroups   uint32
	Rows        uint32
	Heads       uint32
	KvHeads     uint32
	HeadDim4    uint32
	QueryOffset uint32
	Scale       float32
}

type attentionBackwardDeltaParams struct {
	Count    uint32
	HeadDim4 uint32
}

type attentionBackwardQueryParams struct {
	RowGroups   uint32
	Rows        uint32
	Heads       uint32
	KvHeads     uint32
	HeadDim4    uint32
	QueryOffset uint32
	Scale       float32
}

type attentionBackwardKeyValueParams struct {
	KeyGroups  uint32
	Tokens     uint32
	FirstQuery uint32
	Queries    uint32
	Accumulate uint32
	Heads      uint32
	KvHeads    uint32
	HeadDim4   uint32
	Scale      float32
}

var (
	attentionForward          = define("attention_forward", "iiiiww", attentionForwardParams{})
	attentionBackwardDelta    = define("attention_backward_delta", "iiiw", attentionBackwardDeltaParams{})
	attentionBackwardQuery    = define("attention_backward_query", "iiiiiiw", attentionBackwardQueryParams{})
	attentionBackwardKeyValue = define("attention_backward_key_value", "iiiiiiww", attentionBackwardKeyValueParams{})
)

// attentionTile is how many rows (queries of the heads of one group) an invocation owns, how many keys it takes at a time, and how
// many invocations a workgroup has; the key/value gradient owns keys and takes rows. Large tiles suit CPU devices, where loads
// cost most; on GPUs many invocations matter more, and neighbours that read the same keys share those loads.
type attentionTile struct{ own, take, width int }

var (
	attentionForwardTiles  = []attentionTile{{1, 16, 32}, {8, 8, 8}, {16, 16, 8}, {4, 4, 8}}
	attentionBackwardTiles = []attentionTile{{1, 8, 32}, {8, 8, 8}, {16, 16, 8}, {4, 4, 8}}
)

func (t attentionTile) name() string { return fmt.Sprintf("tile_%dx%d", t.own, t.take) }

func (t attentionTile) ownRows() map[string]uint32 {
	return map[string]uint32{"ROWS": uint32(t.own), "KEYS": uint32(t.take), "WIDTH": uint32(t.width)}
}

func (t attentionTile) ownKeys() map[string]uint32 {
	return map[string]uint32{"ROWS": uint32(t.take), "KEYS": uint32(t.own), "WIDTH": uint32(t.width)}
}

// groups is the workgroups of one key/value head with this many rows or keys.
func (t attentionTile) groups(n int) int { return ceilDiv(n, t.own*t.width) }

// AttentionForward is o_t = sum_j softmax_j(scale * q_t·k_j) v_j over the keys j from FirstKey[t] to t+QueryOffset, per head, and
// lse, the log of the softmax's denominator, for the backward. q and o are [T, H*D], lse [T, H]; k and v are [S, KVH*D] with
// at least T+QueryOffset rows. D is a multiple of 4 up to 256. No memory grows with T².
//
// Source: FlashAttention-2 (arXiv 2307.08691).
func AttentionForward(rec *gpu.Recorder, o, lse, q, k, v *gpu.Tensor, a Attention) {
	const kernel = "attention_forward"
	a.check(kernel, q, k, v)
	sameShape(kernel, q, o)
	a.checkStatistic(kernel, lse, q.Rows, 1)
	rows := q.Rows * a.Heads / a.KVHeads
	fallback := attentionForwardTiles[0].name()
	switch {
	case !onCPU(rec) && q.Rows > 16:
		fallback = sharedAttention
	case onCPU(rec) && q.Rows > 16 && !inBrowser(rec):
		fallback = uniformAttention
	case onCPU(rec) && rows > 16 && rows <= 1024 && inBrowser(rec):
		fallback = attentionForwardTiles[3].name() // which compiles in a quarter of the time
	case onCPU(rec) && rows > 16:
		fallback = attentionForwardTiles[1].name()
	}
	variant := a.pickVariant(rec, kernel, q.Rows, fallback)
	if variant == sharedAttention && !a.sharedFits(rec, q, k) {
		variant = attentionForwardTiles[0].name()
	}
	switch variant {
	case sharedAttention:
		attentionForwardByTiles(rec, o, lse, q, k, v, a)
		return
	case uniformAttention:
		attentionForwardWindows(rec, o, lse, q, k, v, a)
		return
	}
	tile := pickTile(attentionForwardTiles, variant)
	rowGroups := tile.groups(rows)
	params := attentionForwardParams{uint32(rowGroups), uint32(rows), uint32(a.Heads), uint32(a.KVHeads), uint32(a.HeadDim / 4), uint32(a.QueryOffset), a.Scale}
	rec.Dispatch(attentionForward.spec(tile.ownRows()), rowGroups*a.KVHeads, a.pairs(q.Rows)*int64(4*a.HeadDim+20), params,
		q.Single(), k.Single(), v.Single(), a.FirstKey.Single(), o.Single(), lse.Single())
}

// AttentionBackward, per head with p_j = exp(scale * q_t·k_j - lse) and delta = do_t·o_t: ds_j = p_j * (do_t·v_j - delta),
// dq_t = scale * sum_j ds_j k_j, dk_j = scale * sum_t ds_j q_t, dv_j = sum_t p_j do_t; a key/value head sums over the query heads of its
// group. do, o and dq are [T, H*D], dk and dv [S, KVH*D]; o and lse are the forward's. stats is scratch [T, 2*H]. Queries may come in chunks in their order, with
// QueryOffset and from the second on Accumulate: dk and dv are the same to the bit, once the last chunk was added, where chunks are cut at multiples of 64 queries.
func AttentionBackward(rec *gpu.Recorder, dq, dk, dv, do, q, k, v, o, lse, stats *gpu.Tensor, a Attention) {
	const kernel = "attention_backward"
	a.check(kernel, q, k, v)
	sameShape(kernel, q, dq, do, o)
	sameShape(kernel, k, dk, dv)
	T, S := q.Rows, k.Rows
	require(a.LastQuery.Rows*a.LastQuery.Cols >= S, kernel, "%d last queries for %d tokens", a.LastQuery.Rows*a.LastQuery.Cols, S)
	a.checkStatistic(kernel, lse, T, 1)
	a.checkStatistic(kernel, stats, T, 2)
	heads, kvHeads, headDim4 := uint32(a.Heads), uint32(a.KVHeads), uint32(a.HeadDim/4)

	delta := attentionBackwardDeltaParams{uint32(T * a.Heads), headDim4}
	rec.Dispatch(attentionBackwardDelta.spec(nil), ceilDiv(T*a.Heads, 64), int64(2*T*q.Cols), delta, do.Single(), o.Single(), lse.Single(), stats.Single())

	fallback := attentionBackwardTiles[0].name()
	switch {
	case !onCPU(rec) && (T > 16 || a.Accumulate && T > 0): // a chunk adds in the order of those before, however few its tokens
		fallback = sharedAttention
	case onCPU(rec) && !inBrowser(rec):
		fallback = uniformAttention
	case onCPU(rec) && T <= 512:
		fallback = attentionBackwardTiles[3].name()
	case onCPU(rec):
		fallback = attentionBackwardTiles[1].name()
	}
	variant := a.pickVariant(rec, kernel, T, fallback)
	if variant == sharedAttention && !a.sharedFits(rec, q, k) {
		variant = attentionBackwardTiles[0].name()
	}
	switch variant {
	case sharedAttention:
		attentionBackwardByTiles(rec, dq, dk, dv, do, q, k, v, stats, a)
		return
	case uniformAttention:
		attentionBackwardWindows(rec, dq, dk, dv, do, q, k, v, stats, a)
		return
	}
	tile := pickTile(attentionBackwardTiles, variant)
	keys := a.keysBackward(T, S)
	keyGroups := tile.groups(keys)
	keyValue := attentionBackwardKeyValueParams{uint32(keyGroups), uint32(keys), uint32(a.QueryOffset), uint32(T), flag(a.Accumulate), heads, kvHeads, headDim4, a.Scale}
	rec.Dispatch(attentionBackwardKeyValue.spec(tile.ownKeys()), keyGroups*a.KVHeads, a.pairs(T)*int64(8*a.HeadDim+20), keyValue,
		q.Single(), k.Single(), v.Single(), do.Single(), stats.Single(), a.LastQuery.Single(), dk.Single(), dv.Single())

	rows := T * a.Heads / a.KVHeads
	rowGroups := tile.groups(rows)
	query := attentionBackwardQueryParams{uint32(rowGroups), uint32(rows), heads, kvHeads, headDim4, uint32(a.QueryOffset), a.Scale}
	rec.Dispatch(attentionBackwardQuery.spec(tile.ownRows()), rowGroups*a.KVHeads, a.pairs(T)*int64(6*a.HeadDim+20), query,
		q.Single(), k.Single(), v.Single(), do.Single(), stats.Single(), a.FirstKey.Single(), dq.Single())
}

// check panics unless the shapes agree.
func (a Attention) check(kernel string, q, k, v *gpu.Tensor) {
	require(a.HeadDim%4 == 0 && a.HeadDim > 0 && a.HeadDim <= 256, kernel, "head dimension %d", a.HeadDim)
	require(a.KVHeads > 0 && a.Heads%a.KVHeads == 0, kernel, "%d query heads over %d key/value heads", a.Heads, a.KVHeads)
	require(q.Cols == a.Heads*a.HeadDim, kernel, "q has %d columns for %d heads of %d", q.Cols, a.Heads, a.HeadDim)
	sameShape(kernel, k, v)
	require(k.Cols == a.KVHeads*a.HeadDim, kernel, "k has %d columns for %d heads of %d", k.Cols, a.KVHeads, a.HeadDim)
	require(a.QueryOffset >= 0 && k.Rows >= q.Rows+a.QueryOffset, kernel, "%d keys for %d queries from key %d", k.Rows, q.Rows, a.QueryOffset)
	require(a.FirstKey.Rows*a.FirstKey.Cols >= q.Rows, kernel, "%d first keys for %d tokens", a.FirstKey.Rows*a.FirstKey.Cols, q.Rows)
}

func (a Attention) checkStatistic(kernel string, s *gpu.Tensor, T, each int) {
	require(s.Rows == T && s.Cols == each*a.Heads, kernel, "%s is %d×%d for %d tokens of %d heads", s.Name, s.Rows, s.Cols, T, a.Heads)
}

// pairs counts a query and a key it sees, over all heads, as if there were one segment.
func (a Attention) pairs(T int) int64 {
	return int64(a.Heads) * (int64(T)*int64(T+1)/2 + int64(T)*int64(a.QueryOffset))
}

// keysBackward is how many keys the gradients are taken of: later ones see none of these queries, and need zeros only the first time.
func (a Attention) keysBackward(T, S int) int {
	if a.Accumulate {
		return min(S, T+a.QueryOffset)
	}
	return S
}

// pickVariant is the recorded choice, the forced one, or the fallback.
func (a Attention) pickVariant(rec *gpu.Recorder, op string, tokens int, fallback string) string {
	name := rec.Device().Variants.Choose(op, fmt.Sprintf("T%d H%d KVH%d D%d", tokenClass(tokens), a.Heads, a.KVHeads, a.HeadDim), fallback)
	if !slices.Contains(Variants(op), name) {
		return fallback // a table from another version may name a variant that is gone
	}
	return name
}

func pickTile(tiles []attentionTile, name string) attentionTile {
	return tiles[slices.IndexFunc(tiles, func(t attentionTile) bool { return t.name() == name })]
}

func attentionVariants(tiles []attentionTile) (names []string) {
	for _, t := range tiles {
		names = append(names, t.name())
	}
	return append(names, uniformAttention, sharedAttention)
}
