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
	// SoftCap holds scaled scores within ±SoftCap, see SoftCapForward; 0: none.
	SoftCap float32
	// FirstKey is U32 [T]: the first key a query sees, counted over all keys; it does not fall from query to query.
	FirstKey *gpu.Tensor
	// LastQuery is U32 [S]: one past the last query that sees a key; it does not fall either. Only the backward needs it.
	LastQuery *gpu.Tensor
	// QueryOffset is the key at which query 0 sits: the tokens that a KV cache holds already, or those before a chunk of
	// queries.
	QueryOffset int
	// Window is how many keys a query sees at most, itself among them, and 0: any; so that work which FirstKey and
	// LastQuery leave out is neither recorded nor counted.
	Window int
	// Accumulate adds to dk and dv: another chunk of the queries has been there before.
	Accumulate bool
}

// AttentionTensors are what attention reads and writes, for H heads, KVH key/value heads and a head dimension of D, a
// multiple of 4 up to 256. The last five are the backward's.
type AttentionTensors struct {
	Q, K, V *gpu.Tensor // [T, H·D]; [S, KVH·D] with at least T+QueryOffset rows
	O       *gpu.Tensor // [T, H·D]: written forward, read backward
	LSE     *gpu.Tensor // [T, H], the log of the softmax's denominator: likewise

	DO         *gpu.Tensor // [T, H·D], the output's gradient
	DQ, DK, DV *gpu.Tensor // as Q, K and V
	Stats      *gpu.Tensor // [T, 2·H], scratch
}

// attention is one call.
type attention struct {
	Attention
	AttentionTensors
}

func (a attention) count() int         { return a.Q.Rows }
func (a attention) storage() gpu.DType { return gpu.F32 }

func (a attention) class() string {
	return fmt.Sprintf("T%d H%d KVH%d D%d", tokenClass(a.Q.Rows), a.Heads, a.KVHeads, a.HeadDim)
}

// attentionTolerance: a few hundred float32 products and exp (3 + 2|x| units in the last place) give a weight a
// relative error near 1e-7 each, below 1e-6 together.
const attentionTolerance = 1e-12

// rows are those of queries of a key/value head: tokens times the heads of its group.
func (a attention) rows() int { return a.Q.Rows * a.Heads / a.KVHeads }

// severalRows: a tile of more than one row has something to do.
func (a attention) severalRows(*gpu.Device) bool { return a.rows() > 16 }

// fewRows: up to where a smaller tile, which compiles in a quarter of the time, is as good in a browser.
func (a attention) fewRows(*gpu.Device) bool { return a.rows() > 16 && a.rows() <= 1024 }

var attentionForward = newOperation(operation[attention]{
	name: BenchAttentionForward,
	of:   OfAttention,
	variants: slices.Concat([]variant[attention]{
		forwardByTile(1, 16, 32), forwardByTile(8, 8, 8), forwardByTile(16, 16, 8), forwardByTile(4, 4, 8),
	}, attentionForwards),
	rules: []rule[attention]{
		{on: graphics, tokens: above(16), take: sharedAttention},
		{on: software, tokens: above(16), take: uniformAttention},
		{on: softwareBrowser, where: attention.fewRows, take: "tile_4x4"},
		{on: cpus, where: attention.severalRows, take: "tile_8x8"},
		{take: "tile_1x16"},
	},
	operands: attentionOperands,
})

// capped is a kernel's constants for scores with or without a soft cap.
func (a attention) capped(constants map[string]uint32) map[string]uint32 {
	if a.SoftCap != 0 {
		constants["CAPPED"] = 1
	}
	return constants
}

// AttentionForward is o_t = sum_j softmax_j(scale * q_t·k_j) v_j over the keys j from FirstKey[t] to t+QueryOffset, per
// head, and lse for the backward. No memory grows with T².
//
// Source: FlashAttention-2 (arXiv 2307.08691); the soft cap of scores is Gemma 2's (arXiv 2408.00118).
func AttentionForward(rec *gpu.Recorder, s Attention, t AttentionTensors) {
	a := attention{s, t}
	a.check(attentionForward.name)
	attentionForward.run(rec, a)
}

// addsToOthers: a chunk adds in the order of those before, however few its tokens.
func (a attention) addsToOthers(*gpu.Device) bool { return a.Accumulate && a.Q.Rows > 0 }

var attentionBackward = newOperation(operation[attention]{
	name: BenchAttentionBackward,
	of:   OfAttention,
	variants: slices.Concat([]variant[attention]{
		backwardByTile(1, 8, 32), backwardByTile(8, 8, 8), backwardByTile(16, 16, 8), backwardByTile(4, 4, 8),
	}, attentionBackwards),
	rules: []rule[attention]{
		{on: graphics, tokens: above(16), take: sharedAttention},
		{on: graphics, where: attention.addsToOthers, take: sharedAttention},
		{on: software, take: uniformAttention},
		{on: softwareBrowser, tokens: upTo(512), take: "tile_4x4"},
		{on: softwareBrowser, take: "tile_8x8"},
		{take: "tile_1x8"},
	},
	operands: attentionOperands,
})

// AttentionBackward, per head with p_j = exp(scale * q_t·k_j - lse) and delta = do_t·o_t: ds_j = p_j * (do_t·v_j -
// delta), dq_t = scale * sum_j ds_j k_j, dk_j = scale * sum_t ds_j q_t, dv_j = sum_t p_j do_t; a key/value head sums
// over the query heads of its group. A soft cap multiplies ds_j by 1 - (s_j/cap)². o and lse are the forward's.
// Queries may come in chunks in their order, with QueryOffset and from the second on Accumulate: dk and dv are the
// same to the bit, once the last chunk was added, where chunks are cut at multiples of 64 queries.
func AttentionBackward(rec *gpu.Recorder, s Attention, t AttentionTensors) {
	a := attention{s, t}
	a.check(attentionBackward.name)
	a.checkBackward(attentionBackward.name)
	attentionBackward.run(rec, a)
}

// check panics unless the shapes agree.
func (a attention) check(kernel string) {
	require(a.HeadDim%4 == 0 && a.HeadDim > 0 && a.HeadDim <= 256, kernel, "head dimension %d", a.HeadDim)
	require(a.KVHeads > 0 && a.Heads%a.KVHeads == 0, kernel, "%d query heads over %d key/value heads", a.Heads, a.KVHeads)
	require(a.Q.Cols == a.Heads*a.HeadDim, kernel, "q has %d columns for %d heads of %d", a.Q.Cols, a.Heads, a.HeadDim)
	sameShape(kernel, a.K, a.V)
	require(a.K.Cols == a.KVHeads*a.HeadDim, kernel, "k has %d columns for %d heads of %d", a.K.Cols, a.KVHeads, a.HeadDim)
	require(a.QueryOffset >= 0 && a.K.Rows >= a.Q.Rows+a.QueryOffset, kernel,
		"%d keys for %d queries from key %d", a.K.Rows, a.Q.Rows, a.QueryOffset)
	firsts := a.FirstKey.Rows * a.FirstKey.Cols
	require(firsts >= a.Q.Rows, kernel, "%d first keys for %d tokens", firsts, a.Q.Rows)
	sameShape(kernel, a.Q, a.O)
	a.checkStatistic(kernel, a.LSE, 1)
}

func (a attention) checkBackward(kernel string) {
	sameShape(kernel, a.Q, a.DQ, a.DO)
	sameShape(kernel, a.K, a.DK, a.DV)
	lasts := a.LastQuery.Rows * a.LastQuery.Cols
	require(lasts >= a.K.Rows, kernel, "%d last queries for %d tokens", lasts, a.K.Rows)
	a.checkStatistic(kernel, a.Stats, 2)
}

func (a attention) checkStatistic(kernel string, s *gpu.Tensor, each int) {
	require(s.Rows == a.Q.Rows && s.Cols == each*a.Heads, kernel,
		"%s is %d×%d for %d tokens of %d heads", s.Name, s.Rows, s.Cols, a.Q.Rows, a.Heads)
}

// pairs counts a query and a key it sees, over all heads, as if there were one segment.
func (a attention) pairs() int64 {
	return int64(a.Heads) * seenPairs(a.Q.Rows, a.QueryOffset, a.Window)
}

// seenPairs counts a query and a key it sees in one segment, of so many queries behind keys before them.
func seenPairs(queries, keysBefore, window int) int64 {
	tokens, before := int64(queries), int64(keysBefore)
	all := func(tokens int64) int64 { return tokens*(tokens+1)/2 + tokens*before }
	if window == 0 || tokens+before <= int64(window) {
		return all(tokens)
	}
	growing := max(0, int64(window)-before) // queries that see all before them
	return all(growing) + (tokens-growing)*int64(window)
}

// firstSeen is the first key that any of the rows from one on can see.
func (a attention) firstSeen(row int) int { return a.firstSeenBy(row / (a.Heads / a.KVHeads)) }

// firstSeenBy is the first key that a query can see.
func (a attention) firstSeenBy(query int) int {
	if a.Window == 0 {
		return 0
	}
	return max(0, query+a.QueryOffset+1-a.Window)
}

// keysBackward is how many keys the gradients are taken of: later ones see none of these queries, and need zeros only
// the first time.
func (a attention) keysBackward() int {
	if a.Accumulate {
		return min(a.K.Rows, a.Q.Rows+a.QueryOffset)
	}
	return a.K.Rows
}

// attentionOperands are a cell's: one segment of T tokens, each of which sees those before it, or the window's.
func attentionOperands(m *maker, c Cell) attention {
	wide, narrow := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	a := attention{Attention: Attention{
		Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Scale: 1, SoftCap: c.SoftCap, Window: c.Window,
	}}
	a.FirstKey = m.words(c.T, a.firstSeenBy)
	a.LastQuery = m.words(c.T, func(key int) int {
		if c.Window == 0 {
			return c.T
		}
		return min(c.T, key+c.Window)
	})
	a.Q, a.O, a.LSE = m.tensor(gpu.F32, c.T, wide), m.tensor(gpu.F32, c.T, wide), m.tensor(gpu.F32, c.T, c.Heads)
	a.K, a.V = m.tensor(gpu.F32, c.T, narrow), m.tensor(gpu.F32, c.T, narrow)
	if c.Op == BenchAttentionForward {
		return a
	}
	a.DO, a.DQ, a.Stats = m.tensor(gpu.F32, c.T, wide), m.tensor(gpu.F32, c.T, wide), m.tensor(gpu.F32, c.T, 2*c.Heads)
	a.DK, a.DV = m.tensor(gpu.F32, c.T, narrow), m.tensor(gpu.F32, c.T, narrow)
	return a
}
