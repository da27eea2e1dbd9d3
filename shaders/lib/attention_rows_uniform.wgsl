import package::attention::{ROWS, Own};

// Params of the kernels whose invocations own rows of a window and walk the keys of another.
struct Params {
  group_base: u32,
  group_end: u32,
  first_row: u32, // of the window
  end_row: u32,
  first_key: u32, // of the window
  end_key: u32,
  kv_head: u32,
  heads: u32,       // H
  group_heads: u32, // G
  head_dim4: u32,   // D / 4
  query_offset: u32, // query t sits at key t + query_offset
  resume: u32, // 1: an earlier window of keys has been there
  scale: f32,
  cap: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

// The key at which rows end is one past the last of the window that any of them sees.
fn rows_of(row: u32) -> Own {
  var own: Own;
  own.end = min((min(row + ROWS, params.end_row) - 1u) / params.group_heads + params.query_offset + 1u, params.end_key);
  // unroll r ROWS {
  let row_r0 = min(row + 0u /*r*/, params.end_row - 1u);
  own.token_r0 = row_r0 / params.group_heads;
  own.last_r0 = own.token_r0 + params.query_offset;
  own.head_r0 = own.token_r0 * params.heads + params.kv_head * params.group_heads + row_r0 % params.group_heads;
  own.q_r0 = (row_r0 - params.first_row) * params.head_dim4;
  // }
  return own;
}
