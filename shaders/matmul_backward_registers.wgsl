// dx[t, k] (+)= alpha * sum_n dy[t, n] * w[n, k], w in float32 (LoRA) or bfloat16 (the head).
//
// A workgroup owns TILE_T tokens × 32·TILE_K columns, an invocation TILE_T × TILE_K vec4 of sums in named registers,
// its columns 32 apart; no barrier. Numerics: float32 sums over 256 rows, added to a sum that starts from dx when
// accumulating: over a vocabulary of 50,000 rows one running sum would lose three bits, and cutting w at multiples of
// 256 rows gives the same bytes. 4 (2) bytes a weight and 2·T flops; dy is read K/(32·TILE_K) times.

import package::entry::{group_of};
import package::matmul_backward::{TILE_T, TILE_K, QUAD, PART, Sums, Rows, columns_of, add_rows, add_part};

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows: u32,       // rows of w in this shard, a multiple of 4
  cols4: u32,      // K / 4
  dy_stride4: u32, // N / 4, all shards
  dy_first4: u32,  // first row of this shard / 4
  col_tiles: u32,
  accumulate: u32, // 1: dx +=
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<vec4<f32>>; // [tokens, dy_stride4]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [tokens, cols4]

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let t0 = (group / params.col_tiles) * TILE_T;
  let k0 = (group % params.col_tiles) * 8u * TILE_K + lane;
  // unroll r TILE_T {
  let dy_r0 = min(t0 + 0u /*r*/, params.tokens - 1u) * params.dy_stride4 + params.dy_first4;
  // }
  let columns = columns_of(k0, params.cols4);
  var sums = Sums();
  // Tokens beyond the last are computed from the last one's dy: they load and store its values once more.
  // unroll r TILE_T {
  let at_r0 = min(t0 + 0u /*r*/, params.tokens - 1u) * params.cols4;
  // }
  if (params.accumulate == 1u) {
    // unroll r TILE_T {
    // unroll c TILE_K {
    sums.of_r0_c0 = dx[at_r0 + columns.at_c0];
    // }
    // }
  }
  for (var part = 0u; part < params.rows; part += PART) {
    var part_sums = Sums();
    let end = min(part + PART, params.rows);
    for (var n = part; n < end; n += QUAD) {
      var rows: Rows;
      // unroll r TILE_T {
      rows.of_r0 = dy[dy_r0 + n / QUAD];
      // }
      add_rows(&part_sums, rows, n, columns, params.cols4);
    }
    add_part(&sums, &part_sums, params.alpha);
  }
  // unroll c TILE_K {
  if (k0 + 8u * 0u /*c*/ < params.cols4) {
    // unroll r TILE_T {
    dx[at_r0 + columns.at_c0] = sums.of_r0_c0;
    // }
  }
  // }
}
