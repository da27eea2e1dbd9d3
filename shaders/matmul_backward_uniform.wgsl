// dx[t, k] (+)= alpha * sum_n dy[t, n] * w[n, k], w in float32 (LoRA) or bfloat16 (the head).
//
// The variant for CPU devices whose storage loads are slow: dy comes from a uniform array, a dispatch takes at most 512
// rows of w and 32 tokens (see matmul_nf4_backward_uniform). A workgroup owns these × 32·TILE_K columns, an invocation
// TILE_T × TILE_K vec4 of sums in named registers, its columns 32 apart. Numerics: as in matmul_backward_registers, so
// that cutting w or dy at multiples of 256 rows gives the same bytes. 4 (2) bytes a weight and 2·T flops; dy is read
// K/(32·TILE_K) times.

import package::entry::{group_of};
import package::matmul_backward::{TILE_T, TILE_K, QUAD, PART, Sums, Rows, columns_of, add_rows, add_part};

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows: u32,       // rows of w in this shard, a multiple of 4
  cols4: u32,      // K / 4
  first_row: u32,  // rows of this shard that the chunk covers
  end_row: u32,
  window_first: u32, // column of dy in the window that belongs to first_row
  first_token: u32, // of the window
  accumulate: u32, // 1: dx +=
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> dy: array<vec4<f32>, 4096>;       // [32, 128], the window of the chunk
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [tokens, cols4]

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let k0 = group * 8u * TILE_K + lane;
  let last_t = params.tokens - 1u;
  let columns = columns_of(k0, params.cols4);
  var sums = Sums();
  if (params.accumulate == 1u) {
    // unroll r TILE_T {
    // unroll c TILE_K {
    sums.of_r0_c0 = dx[min(params.first_token + 0u /*r*/, last_t) * params.cols4 + columns.at_c0];
    // }
    // }
  }
  for (var part = params.first_row; part < params.end_row; part += PART) {
    var part_sums = Sums();
    let end = min(part + PART, params.end_row);
    for (var n = part; n < end; n += QUAD) {
      let column = (params.window_first + n - params.first_row) / QUAD;
      var rows: Rows;
      // unroll r TILE_T {
      rows.of_r0 = dy[128u * 0u /*r*/ + column];
      // }
      add_rows(&part_sums, rows, n, columns, params.cols4);
    }
    add_part(&sums, &part_sums, params.alpha);
  }
  // unroll c TILE_K {
  if (k0 + 8u * 0u /*c*/ < params.cols4) {
    // unroll r TILE_T {
    if (params.first_token + 0u /*r*/ < params.tokens) {
      dx[(params.first_token + 0u /*r*/) * params.cols4 + columns.at_c0] = sums.of_r0_c0;
    }
    // }
  }
  // }
}
