// dw[n, k] += alpha * sum_t dy[t, n] * x[t, k], the gradient of a LoRA matrix.
//
// A workgroup owns 4·TILE_N rows × 32·TILE_K columns of dw, an invocation all 4·TILE_N rows of TILE_K vec4 of columns,
// 32 apart, in named registers; no barrier, no atomics. Numerics: float32 in the order of t. 2·T flops an element of
// dw.

import package::entry::{group_of};

const TILE_N: u32 = 1u; // vec4 of rows
const TILE_K: u32 = 1u; // vec4 of columns

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows4: u32,     // N / 4
  cols4: u32,     // K / 4
  col_tiles: u32,
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<vec4<f32>>; // [tokens, rows4]
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>;  // [tokens, cols4]
@group(0) @binding(3) var<storage, read_write> dw: array<vec4<f32>>; // [N, cols4]

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let n0 = (group / params.col_tiles) * TILE_N;
  let k0 = (group % params.col_tiles) * 8u * TILE_K + lane;
  // unroll c TILE_K {
  let k_c0 = min(k0 + 8u * 0u /*c*/, params.cols4 - 1u);
  // }
  // unroll r TILE_N {
  let n_r0 = min(n0 + 0u /*r*/, params.rows4 - 1u);
  // unroll c TILE_K {
  var acc0_r0_c0 = vec4<f32>();
  var acc1_r0_c0 = vec4<f32>();
  var acc2_r0_c0 = vec4<f32>();
  var acc3_r0_c0 = vec4<f32>();
  // }
  // }
  for (var t = 0u; t < params.tokens; t++) {
    // unroll c TILE_K {
    let x_c0 = x[t * params.cols4 + k_c0];
    // }
    // unroll r TILE_N {
    let d_r0 = dy[t * params.rows4 + n_r0];
    // unroll c TILE_K {
    acc0_r0_c0 += d_r0.x * x_c0;
    acc1_r0_c0 += d_r0.y * x_c0;
    acc2_r0_c0 += d_r0.z * x_c0;
    acc3_r0_c0 += d_r0.w * x_c0;
    // }
    // }
  }
  // unroll c TILE_K {
  if (k0 + 8u * 0u /*c*/ < params.cols4) {
    // unroll r TILE_N {
    if (n0 + 0u /*r*/ < params.rows4) {
      let at = n_r0 * 4u * params.cols4 + k_c0;
      dw[at] += params.alpha * acc0_r0_c0;
      dw[at + params.cols4] += params.alpha * acc1_r0_c0;
      dw[at + 2u * params.cols4] += params.alpha * acc2_r0_c0;
      dw[at + 3u * params.cols4] += params.alpha * acc3_r0_c0;
    }
    // }
  }
  // }
}
