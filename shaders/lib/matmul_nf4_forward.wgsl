import package::nf4::{Absmax, scales4};
import package::registers::{TILE_T, TILE_Q};

// The operands of y = x Wᵀ (+ bias), W in NF4, for the variants that read x as it lies.
struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows: u32,        // rows of W in this shard, a multiple of 4
  cols4: u32,       // K / 4
  y_stride: u32,    // N, all shards
  y_first: u32,     // first row of this shard
  packed: u32,      // word offsets in region
  codes: u32,
  nested: u32,
  bias: u32,        // 0xffffffff: none
  offset: f32,      // of the double quantization
  first_block: u32, // the shard's first absmax within its group
  shifts: u32, // log2 of the block size, and at bit 8 that of the blocks that share a nested absmax
  row_tiles: u32,
  // Columns / 4 of a row that share one absmax: 16 or 8, or 2 where rows are no multiple of that; at least a word's.
  // Not a constant: compilers of CPU devices would unroll the loop over it and take a minute.
  span4: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>; // [tokens, cols4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [tokens, y_stride / 4]

// What an invocation owns: where its tokens begin in x, and its groups of four rows of W and where they begin. Beyond
// the last it is that one.
struct Own {
  // unroll r TILE_T {
  x_r0: u32,
  // }
  // unroll q TILE_Q {
  n_q0: u32,
  row_q0: u32, // in units of four columns
  // }
}

fn owned(t0: u32, n0: u32) -> Own {
  var own: Own;
  // unroll r TILE_T {
  own.x_r0 = min(t0 + 0u /*r*/, params.tokens - 1u) * params.cols4;
  // }
  // unroll q TILE_Q {
  own.n_q0 = min(n0 + 4u * 0u /*q*/, params.rows - 4u);
  own.row_q0 = own.n_q0 * params.cols4;
  // }
  return own;
}

// The absmax of these rows in a span of columns.
struct Scales {
  // unroll q TILE_Q {
  of_q0: vec4<f32>,
  // }
}

fn scales_of(own: Own, span: u32) -> Scales {
  let absmax = Absmax(params.codes, params.nested, params.first_block, params.shifts, params.offset);
  var scales: Scales;
  // unroll q TILE_Q {
  scales.of_q0 = scales4(absmax, own.row_q0 + span, params.cols4);
  // }
  return scales;
}
