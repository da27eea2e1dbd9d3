// y[n] (+)= alpha * sum_k x[k] * w[n, k] for one token, w in bfloat16 (the head).
//
// The variant for generation on CPU devices whose storage loads are slow: x comes from a uniform array, w through
// WINDOWS windows of params.piece rows each, of which an invocation owns TILE_R rows in every params.parts-th, a
// workgroup 8·TILE_R (see matmul_nf4_forward_vector_uniform). Numerics: float32 in the order of k. 2 bytes a weight and
// 2 flops. Where the rows are no multiple of 4 (a vocabulary), y has room for the next multiple, and nothing is written
// there.

import package::entry::{group_of};

const WINDOWS: u32 = 1u; // at most 7
const TILE_R: u32 = 1u;

struct Params {
  group_base: u32,
  group_end: u32,
  first_row: u32,  // rows of this shard that the dispatch covers
  end_row: u32,
  piece: u32,      // rows of one window
  parts: u32,      // a workgroup takes the windows with its number modulo so many
  cols8: u32,      // K / 8
  x_first4: u32,   // where x begins in its window
  y_first: u32,    // of the shard's first row
  accumulate: u32, // 1: y +=
  alpha: f32,
  first_w0: u32,   // where a window's first row begins in it, in vec4
  first_w1: u32,
  first_w2: u32,
  first_w3: u32,
  first_w4: u32,
  first_w5: u32,
  first_w6: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> x: array<vec4<f32>, 4096>;
@group(0) @binding(2) var<uniform> w_w0: array<vec4<u32>, 4096>; // windows of w: 8 columns each
@group(0) @binding(3) var<uniform> w_w1: array<vec4<u32>, 4096>;
@group(0) @binding(4) var<uniform> w_w2: array<vec4<u32>, 4096>;
@group(0) @binding(5) var<uniform> w_w3: array<vec4<u32>, 4096>;
@group(0) @binding(6) var<uniform> w_w4: array<vec4<u32>, 4096>;
@group(0) @binding(7) var<uniform> w_w5: array<vec4<u32>, 4096>;
@group(0) @binding(8) var<uniform> w_w6: array<vec4<u32>, 4096>;
@group(0) @binding(9) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let mine = (group / params.parts * 8u + lane) * TILE_R;
  // unroll w WINDOWS {
  let end_w0 = select(0u, params.cols8, 0u /*w*/ % params.parts == group % params.parts);
  // unroll r TILE_R {
  let local_w0_r0 = min(mine + 0u /*r*/, params.piece - 1u);
  let at_w0_r0 = params.first_w0 + local_w0_r0 * params.cols8;
  var acc_w0_r0 = vec4<f32>();
  // }
  for (var k = 0u; k < end_w0; k++) {
    let even = x[params.x_first4 + 2u * k];
    let odd = x[params.x_first4 + 2u * k + 1u];
    let a = vec4<f32>(even.xz, odd.xz);
    let b = vec4<f32>(even.yw, odd.yw);
    // unroll r TILE_R {
    let p_r0 = w_w0[at_w0_r0 + k];
    acc_w0_r0 += bitcast<vec4<f32>>(p_r0 << vec4<u32>(16u)) * a;
    acc_w0_r0 += bitcast<vec4<f32>>(p_r0 & vec4<u32>(0xffff0000u)) * b;
    // }
  }
  // unroll r TILE_R {
  let row_w0_r0 = params.first_row + 0u /*w*/ * params.piece + local_w0_r0;
  if (end_w0 > 0u && mine + 0u /*r*/ < params.piece && row_w0_r0 < params.end_row) {
    var sum_w0_r0 = params.alpha * (acc_w0_r0.x + acc_w0_r0.y + (acc_w0_r0.z + acc_w0_r0.w));
    if (params.accumulate == 1u) { sum_w0_r0 += y[params.y_first + row_w0_r0]; }
    y[params.y_first + row_w0_r0] = sum_w0_r0;
  }
  // }
  // }
}
