package kernels

import (
	"fmt"

	"qlora-wgpu/gpu"
)

// Attention by rows and keys in registers: on CPU devices for what the other variants do not serve, on GPUs for few
// tokens.

type attentionForwardParams struct {
	RowGroups   uint32
	Rows        uint32
	Heads       uint32
	KvHeads     uint32
	HeadDim4    uint32
	QueryOffset uint32
	Scale       float32
	Cap         float32
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
	Cap         float32
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
	Cap        float32
}

var (
	attentionForwardTile       = define("attention_forward", "iiiiww", attentionForwardParams{})
	attentionBackwardDelta     = define("attention_backward_delta", "iiiw", attentionBackwardDeltaParams{})
	attentionBackwardQueryTile = define("attention_backward_query", "iiiiiiw", attentionBackwardQueryParams{})
	attentionBackwardKeyValue  = define("attention_backward_key_value", "iiiiiiww", attentionBackwardKeyValueParams{})
)

// attentionTile is how many rows (queries of the heads of one group) an invocation owns, how many keys it takes at a
// time, and how many invocations a workgroup has; the key/value gradient owns keys and takes rows. Large tiles suit CPU
// devices, where loads cost most; on GPUs many invocations matter more, and neighbours that read the same keys share
// those loads.
type attentionTile struct{ own, take, width int }

func (t attentionTile) ownRows() map[string]uint32 {
	return map[string]uint32{"ROWS": uint32(t.own), "KEYS": uint32(t.take), "WIDTH": uint32(t.width)}
}

func (t attentionTile) ownKeys() map[string]uint32 {
	return map[string]uint32{"ROWS": uint32(t.take), "KEYS": uint32(t.own), "WIDTH": uint32(t.width)}
}

// groups is the workgroups of one key/value head with this many rows or keys.
func (t attentionTile) groups(n int) int { return ceilDiv(n, t.own*t.width) }

// variant is the tile's with these shaders.
func (t attentionTile) variant(run func(a attention, rec *gpu.Recorder, t attentionTile), shaders ...*shader) variant[attention] {
	return variant[attention]{Variant: Variant{
		Name: fmt.Sprintf("tile_%dx%d", t.own, t.take), Tolerance: attentionTolerance, made: cpus | graphics, parts: 1, shaders: shaders,
	}, run: func(a attention, rec *gpu.Recorder, _ *Variant) { run(a, rec, t) }}
}

// cappedTile is capped for a tile's constants.
func (a attention) cappedTile(constants map[string]uint32) map[string]uint32 {
	if a.SoftCap != 0 {
		constants["SCORES4"] = constants["ROWS"] * constants["KEYS"] / 4
	}
	return a.capped(constants)
}

func forwardByTile(own, take, width int) variant[attention] {
	return attentionTile{own, take, width}.variant(attention.forwardByRows, attentionForwardTile)
}

func backwardByTile(own, take, width int) variant[attention] {
	return attentionTile{own, take, width}.variant(attention.backwardByRows, attentionBackwardQueryTile, attentionBackwardKeyValue)
}

func (a attention) forwardByRows(rec *gpu.Recorder, tile attentionTile) {
	groups := tile.groups(a.rows())
	forward := attentionForwardTile.spec(a.cappedTile(tile.ownRows()))
	rec.Dispatch(forward, groups*a.KVHeads, a.pairs()*int64(4*a.HeadDim+20), attentionForwardParams{
		RowGroups: uint32(groups), Rows: uint32(a.rows()), Heads: uint32(a.Heads), KvHeads: uint32(a.KVHeads), HeadDim4: uint32(a.HeadDim / 4),
		QueryOffset: uint32(a.QueryOffset), Scale: a.Scale, Cap: a.SoftCap,
	}, a.Q.Single(), a.K.Single(), a.V.Single(), a.FirstKey.Single(), a.O.Single(), a.LSE.Single())
}

// delta fills Stats with what every backward takes: lse and do·o of each row.
func (a attention) delta(rec *gpu.Recorder) {
	rows := a.Q.Rows * a.Heads
	rec.Dispatch(attentionBackwardDelta.spec(nil), ceilDiv(rows, 64), int64(2*a.Q.Rows*a.Q.Cols), attentionBackwardDeltaParams{
		Count: uint32(rows), HeadDim4: uint32(a.HeadDim / 4),
	}, a.DO.Single(), a.O.Single(), a.LSE.Single(), a.Stats.Single())
}

func (a attention) backwardByRows(rec *gpu.Recorder, tile attentionTile) {
	a.delta(rec)
	keys := a.keysBackward()
	groups := tile.groups(keys)
	keyValue := attentionBackwardKeyValue.spec(a.cappedTile(tile.ownKeys()))
	rec.Dispatch(keyValue, groups*a.KVHeads, a.pairs()*int64(8*a.HeadDim+20), attentionBackwardKeyValueParams{
		KeyGroups: uint32(groups), Tokens: uint32(keys), FirstQuery: uint32(a.QueryOffset), Queries: uint32(a.Q.Rows),
		Accumulate: flag(a.Accumulate), Heads: uint32(a.Heads), KvHeads: uint32(a.KVHeads), HeadDim4: uint32(a.HeadDim / 4),
		Scale: a.Scale, Cap: a.SoftCap,
	}, a.Q.Single(), a.K.Single(), a.V.Single(), a.DO.Single(), a.Stats.Single(), a.LastQuery.Single(), a.DK.Single(), a.DV.Single())

	groups = tile.groups(a.rows())
	query := attentionBackwardQueryTile.spec(a.cappedTile(tile.ownRows()))
	rec.Dispatch(query, groups*a.KVHeads, a.pairs()*int64(6*a.HeadDim+20), attentionBackwardQueryParams{
		RowGroups: uint32(groups), Rows: uint32(a.rows()), Heads: uint32(a.Heads), KvHeads: uint32(a.KVHeads), HeadDim4: uint32(a.HeadDim / 4),
		QueryOffset: uint32(a.QueryOffset), Scale: a.Scale, Cap: a.SoftCap,
	}, a.Q.Single(), a.K.Single(), a.V.Single(), a.DO.Single(), a.Stats.Single(), a.FirstKey.Single(), a.DQ.Single())
}
