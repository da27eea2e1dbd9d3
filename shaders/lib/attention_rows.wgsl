import package::attention::{ROWS, Own};

// Params of the kernels whose invocations own rows and walk the keys.
struct Params {
  group_base: u32,
  group_end: u32,
  row_groups: u32, // workgroups per key/value head
  rows: u32, // T * G
  heads: u32, // H
  kv_heads: u32, // KVH
  head_dim4: u32, // D / 4; not a constant, for compilers of CPU devices would unroll the loops over it
  query_offset: u32, // query t sits at key t + query_offset
  scale: f32,
  cap: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

// The key at which rows end is the last that any of them sees.
fn rows_of(row: u32, kv_head: u32) -> Own {
  let group_heads = params.heads / params.kv_heads;
  var own: Own;
  own.end = (min(row + ROWS, params.rows) - 1u) / group_heads + params.query_offset;
  // unroll r ROWS {
  let row_r0 = min(row + 0u /*r*/, params.rows - 1u);
  own.token_r0 = row_r0 / group_heads;
  own.last_r0 = own.token_r0 + params.query_offset;
  own.head_r0 = own.token_r0 * params.heads + kv_head * group_heads + row_r0 % group_heads;
  own.q_r0 = own.head_r0 * params.head_dim4;
  // }
  return own;
}
