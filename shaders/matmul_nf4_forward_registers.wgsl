// y[t, n] = sum_k x[t, k] * W[n, k] (+ bias[n]), W frozen in NF4 with double quantization (QLoRA, arXiv 2305.14314,
// equations 5 and 6).
//
// A workgroup owns TILE_T tokens × 32·TILE_Q rows of W, an invocation TILE_T × 4·TILE_Q sums in named registers. No
// barrier and no shared memory: on a CPU device a load or store costs as much as 70 fused multiply-adds and a barrier
// more, so all that counts is how many products each load serves. Numerics: float32 products and sums in the order of
// k; a weight is codebook[code] * absmax, as bitsandbytes dequantizes it. 0.516 bytes a weight and 2·T flops; x is read
// rows/(32·TILE_Q) times.

import package::entry::{group_of};
import package::registers::{TILE_T, TILE_Q, Tokens, Sums, add};
import package::matmul_nf4_forward::{params, x, y, owned, scales_of};
import package::nf4::{words4, bias4};
import package::nf4_select::{decode};

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let t0 = (group / params.row_tiles) * TILE_T;
  let n0 = ((group % params.row_tiles) * 8u + lane) * 4u * TILE_Q;
  let last_t = params.tokens - 1u;
  let own = owned(t0, n0);
  // unroll q TILE_Q {
  var sums_q0 = Sums();
  // }
  for (var span = 0u; span < params.cols4; span += params.span4) {
    let scales = scales_of(own, span);
    for (var k = span; k < span + params.span4; k++) {
      let shift = (k & 1u) * 16u;
      var v: Tokens;
      // unroll r TILE_T {
      v.of_r0 = x[own.x_r0 + k];
      // }
      // unroll q TILE_Q {
      let p_q0 = words4(params.packed, own.row_q0 + k, params.cols4) >> vec4<u32>(shift);
      let w_q0 = mat4x4<f32>(decode(p_q0.x) * scales.of_q0.x, decode(p_q0.y) * scales.of_q0.y,
                             decode(p_q0.z) * scales.of_q0.z, decode(p_q0.w) * scales.of_q0.w);
      add(&sums_q0, v, w_q0);
      // }
    }
  }
  // unroll q TILE_Q {
  if (n0 + 4u * 0u /*q*/ < params.rows) {
    let bias_q0 = bias4(params.bias, own.n_q0);
    let y_q0 = (params.y_first + own.n_q0) / 4u;
    // Tokens beyond the last were computed from the last one's x: they store its values once more.
    // unroll r TILE_T {
    y[min(t0 + 0u /*r*/, last_t) * (params.y_stride / 4u) + y_q0] = sums_q0.of_r0 + bias_q0;
    // }
  }
  // }
}
