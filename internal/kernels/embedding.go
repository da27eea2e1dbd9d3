package kernels

import "qlora-wgpu/gpu"

type embeddingParams struct {
	Tokens    uint32
	Cols4     uint32
	Vocab     uint32
	FirstRow  uint32
	ShardRows uint32
}

var embeddingForward = define("embedding_forward", "riw", embeddingParams{})

// EmbeddingForward is x[t] = table[ids[t]]: x [T, C] with C a multiple of 4, table BF16 [V, C] in any number of shards,
// ids U32 with at least T elements. There is one dispatch a shard, which writes the rows of its ids. The host refuses
// an id of V or more; the kernel reads the last row for it.
func EmbeddingForward(rec *gpu.Recorder, x, table, ids *gpu.Tensor) {
	const kernel = "embedding_forward"
	require(table.DType == gpu.BF16 && table.Cols == x.Cols, kernel, "table %s of %d columns for %d", table.Name, table.Cols, x.Cols)
	require(x.Cols%4 == 0, kernel, "%d columns are no multiple of 4", x.Cols)
	require(ids.Rows*ids.Cols >= x.Rows, kernel, "%d ids for %d tokens", ids.Rows*ids.Cols, x.Rows)
	n := x.Rows * x.Cols / 4
	for _, s := range table.Shards {
		params := embeddingParams{
			Tokens: uint32(x.Rows), Cols4: uint32(x.Cols / 4), Vocab: uint32(table.Rows), FirstRow: uint32(s.Row), ShardRows: uint32(s.Rows),
		}
		rec.Dispatch(embeddingForward.spec(nil), ceilDiv(n, 256), int64(16*n), params, s.Range, ids.Single(), x.Single())
	}
}
