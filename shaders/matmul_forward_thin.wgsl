// y[t, n] (+)= alpha * sum_k x[t, k] * w[n, k] for a few k: LoRA's u Bᵀ, k being the rank.
//
// The variant for CPU devices whose storage loads are slow: x and w come from uniform arrays, a dispatch takes as many
// tokens and rows of w as lie in one window each. What is left is the cost of y. A workgroup owns 16 tokens × 64 rows
// of w, an invocation 16 × 8. Numerics: float32 in the order of k.

import package::entry::{group_of};
import package::products::{dots};

const TILE_T: u32 = 16u;
const TILE_Q: u32 = 2u; // groups of 4 rows of w

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,       // of this dispatch
  first_token: u32,
  x_first4: u32,     // where its row begins in the window of x
  k4: u32,           // K / 4
  rows4: u32,        // rows of w of this dispatch / 4
  w_first4: u32,     // where the first begins in the window of w
  y_stride4: u32,    // columns of y / 4
  y_first4: u32,     // column of y of the first row / 4
  row_tiles: u32,
  accumulate: u32,   // 1: y +=
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> x: array<vec4<f32>, 4096>;       // [tokens, k4]
@group(0) @binding(2) var<uniform> w: array<vec4<f32>, 4096>;       // [4·rows4, k4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [T, y_stride4]

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let q0 = (group % params.row_tiles * 8u + lane) * TILE_Q;
  let t0 = group / params.row_tiles * TILE_T;
  // unroll q TILE_Q {
  let w_q0 = params.w_first4 + min(q0 + 0u /*q*/, params.rows4 - 1u) * 4u * params.k4;
  // unroll r TILE_T {
  var acc_r0_q0 = vec4<f32>();
  // }
  // }
  // unroll r TILE_T {
  let t_r0 = min(t0 + 0u /*r*/, params.tokens - 1u); // beyond the last: a copy of it, which stores the same values
  let x_r0 = params.x_first4 + t_r0 * params.k4;
  let y_r0 = (params.first_token + t_r0) * params.y_stride4 + params.y_first4;
  // }
  for (var k = 0u; k < params.k4; k++) {
    // unroll r TILE_T {
    let v_r0 = x[x_r0 + k];
    // }
    // unroll q TILE_Q {
    let w4_q0 = mat4x4<f32>(w[w_q0 + k], w[w_q0 + params.k4 + k], w[w_q0 + 2u * params.k4 + k], w[w_q0 + 3u * params.k4 + k]);
    // unroll r TILE_T {
    acc_r0_q0 += dots(v_r0, w4_q0);
    // }
    // }
  }
  // unroll q TILE_Q {
  if (q0 + 0u /*q*/ < params.rows4) {
    // unroll r TILE_T {
    acc_r0_q0 *= params.alpha;
    // }
    if (params.accumulate == 1u) {
      // unroll r TILE_T {
      acc_r0_q0 += y[y_r0 + q0 + 0u /*q*/];
      // }
    }
    // unroll r TILE_T {
    y[y_r0 + q0 + 0u /*q*/] = acc_r0_q0;
    // }
  }
  // }
}
