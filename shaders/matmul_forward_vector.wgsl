// y[t, n] (+)= alpha * sum_k x[t, k] * w[n, k], w in float32 (LoRA) or bfloat16 (the head), for a few tokens.
//
// The variant for generation on GPUs: a workgroup owns TILE_T tokens × 8 rows of w, the 32 invocations of a half read
// neighbouring columns (see matmul_nf4_forward_vector). Numerics: float32; an invocation's columns in the order of k,
// then the invocations' sums by halves. 4 (2) bytes a weight and 2·T flops. Where the rows are no multiple of 4 (a
// vocabulary), y has room for the next multiple, and what is written there repeats the last row.

import package::entry::{group_of};
import package::vector::{TILE_T, sums, add_up};
import package::matmul_forward::{params, x, y};
import package::weights::{rows4, weights4};
import package::products::{dots};

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let t0 = (group / params.row_tiles) * TILE_T;
  let n0 = ((group % params.row_tiles) * 2u + lane / 32u) * 4u;
  let last_t = params.tokens - 1u;
  // unroll r TILE_T {
  let x_r0 = min(t0 + 0u /*r*/, last_t) * params.cols4;
  var acc_r0 = vec4<f32>();
  // }
  let rows = rows4(n0, params.rows - 1u, params.cols4);
  for (var k = lane % 32u; k < params.cols4; k += 32u) {
    let w4 = weights4(rows, k);
    // unroll r TILE_T {
    let v_r0 = x[x_r0 + k];
    acc_r0 += dots(v_r0, w4);
    // }
  }
  // unroll r TILE_T {
  sums[64u * 0u /*r*/ + lane] = acc_r0;
  // }
  add_up(lane);
  if (lane % 32u == 0u && n0 < params.rows) {
    // Tokens beyond the last were computed from the last one's x; only those that exist are added to and stored.
    // unroll r TILE_T {
    if (t0 + 0u /*r*/ < params.tokens) {
      let at = ((t0 + 0u /*r*/) * params.y_stride + params.y_first + n0) / 4u;
      var sum = params.alpha * sums[64u * 0u /*r*/ + lane];
      if (params.accumulate == 1u) { sum += y[at]; }
      y[at] = sum;
    }
    // }
  }
}
