// y[t, n] (+)= alpha * sum_k x[t, k] * w[n, k], w in float32 (LoRA) or bfloat16 (the head).
//
// The variant for CPU devices whose storage loads are slow: x comes from a uniform array, a dispatch takes a chunk of
// at most 512 columns of 32 tokens (see matmul_nf4_forward_uniform). A workgroup owns TILE_T tokens × 32·TILE_Q rows of
// w, an invocation TILE_T × 4·TILE_Q sums in named registers. Numerics: float32 in the order of k within a chunk, then
// of the chunks. 4 (2) bytes a weight and 2·T flops; x is read rows/(32·TILE_Q) times. Where the rows are no multiple
// of 4 (a vocabulary), y has room for the next multiple, and what is written there repeats the last row.

import package::entry::{group_of};
import package::registers::{TILE_T, TILE_Q, Tokens, Sums, add};
import package::weights::{rows4, weights4};

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows: u32,       // rows of w in this shard
  cols4: u32,      // K / 4
  y_stride: u32,   // columns of y, a multiple of 4
  y_first: u32,    // first row of this shard
  first_token: u32, // of the window
  first_col4: u32, // of the chunk
  end_col4: u32,
  accumulate: u32, // 1: y +=
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> x: array<vec4<f32>, 4096>;       // [32, 128], the window of the chunk
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [tokens, y_stride / 4]

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let n0 = (group * 8u + lane) * 4u * TILE_Q;
  let last_t = params.tokens - 1u;
  // unroll q TILE_Q {
  let n_q0 = n0 + 4u * 0u /*q*/;
  let rows_q0 = rows4(n_q0, params.rows - 1u, params.cols4);
  var sums_q0 = Sums();
  // }
  for (var k = params.first_col4; k < params.end_col4; k++) {
    var v: Tokens;
    // unroll r TILE_T {
    v.of_r0 = x[128u * 0u /*r*/ + k - params.first_col4];
    // }
    // unroll q TILE_Q {
    let w_q0 = weights4(rows_q0, k);
    add(&sums_q0, v, w_q0);
    // }
  }
  // unroll q TILE_Q {
  if (n_q0 < params.rows) {
    let y_q0 = (params.y_first + n_q0) / 4u;
    // unroll r TILE_T {
    sums_q0.of_r0 *= params.alpha;
    // }
    if (params.accumulate == 1u) {
      // unroll r TILE_T {
      sums_q0.of_r0 += y[min(params.first_token + 0u /*r*/, last_t) * (params.y_stride / 4u) + y_q0];
      // }
    }
    // unroll r TILE_T {
    if (params.first_token + 0u /*r*/ < params.tokens) {
      y[(params.first_token + 0u /*r*/) * (params.y_stride / 4u) + y_q0] = sums_q0.of_r0;
    }
    // }
  }
  // }
}
