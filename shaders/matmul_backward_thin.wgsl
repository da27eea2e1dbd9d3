// dx[t, k] (+)= alpha * sum_n dy[t, n] * w[n, k] for a w of few rows: LoRA's du A, n being the rank.
//
// The variant for CPU devices whose storage loads are slow: dy and w come from uniform arrays, a dispatch takes as many
// tokens and rows of w as lie in one window each. What is left is the cost of dx. A workgroup owns 16 tokens × 64
// columns, an invocation 16 × 8. Numerics: float32 in the order of n, alpha applied to each dispatch's sum.

import package::entry::{group_of};

const TILE_T: u32 = 16u;
const TILE_K: u32 = 2u; // groups of 4 columns

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,        // of this dispatch
  first_token: u32,
  dy_first4: u32,     // where its row begins in the window of dy
  dy_stride4: u32,    // columns of dy / 4
  rows4: u32,         // rows of w of this dispatch / 4
  dy_column4: u32,    // column of dy of the first of them / 4
  w_first4: u32,      // where it begins in the window of w
  cols4: u32,         // K / 4
  col_tiles: u32,
  accumulate: u32,    // 1: dx +=
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> dy: array<vec4<f32>, 4096>;       // [tokens, dy_stride4]
@group(0) @binding(2) var<uniform> w: array<vec4<f32>, 4096>;        // [4·rows4, cols4]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [T, cols4]

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let k0 = (group % params.col_tiles * 8u + lane) * TILE_K;
  let t0 = group / params.col_tiles * TILE_T;
  // unroll c TILE_K {
  let w_c0 = params.w_first4 + min(k0 + 0u /*c*/, params.cols4 - 1u);
  // unroll r TILE_T {
  var acc_r0_c0 = vec4<f32>();
  // }
  // }
  // unroll r TILE_T {
  let t_r0 = min(t0 + 0u /*r*/, params.tokens - 1u); // beyond the last: a copy of it, which stores the same values
  let dy_r0 = params.dy_first4 + t_r0 * params.dy_stride4 + params.dy_column4;
  let dx_r0 = (params.first_token + t_r0) * params.cols4;
  // }
  for (var n = 0u; n < params.rows4; n++) {
    // unroll r TILE_T {
    let v_r0 = dy[dy_r0 + n];
    // }
    // unroll c TILE_K {
    let w0_c0 = w[w_c0 + 4u * n * params.cols4];
    let w1_c0 = w[w_c0 + (4u * n + 1u) * params.cols4];
    let w2_c0 = w[w_c0 + (4u * n + 2u) * params.cols4];
    let w3_c0 = w[w_c0 + (4u * n + 3u) * params.cols4];
    // unroll r TILE_T {
    acc_r0_c0 += v_r0.x * w0_c0 + v_r0.y * w1_c0 + v_r0.z * w2_c0 + v_r0.w * w3_c0;
    // }
    // }
  }
  // unroll c TILE_K {
  if (k0 + 0u /*c*/ < params.cols4) {
    // unroll r TILE_T {
    acc_r0_c0 *= params.alpha;
    // }
    if (params.accumulate == 1u) {
      // unroll r TILE_T {
      acc_r0_c0 += dx[dx_r0 + k0 + 0u /*c*/];
      // }
    }
    // unroll r TILE_T {
    dx[dx_r0 + k0 + 0u /*c*/] = acc_r0_c0;
    // }
  }
  // }
}
