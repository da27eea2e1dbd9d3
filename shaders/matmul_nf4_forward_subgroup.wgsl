// y[t, n] = sum_k x[t, k] * W[n, k] (+ bias[n]), W frozen in NF4 with double quantization (QLoRA, arXiv 2305.14314,
// equations 5 and 6).
//
// The variant for devices with subgroups, of whatever size. A workgroup owns LANES·TILE_T tokens × 4·TILE_Q rows of W,
// an invocation TILE_T of the tokens in named registers. All invocations need the same weights, so those of a subgroup
// share the work: each decodes other columns and hands them to the rest by shuffles. No barrier and no shared memory.
// Numerics: float32 products and sums in the order of k, as matmul_nf4_forward_registers. 0.516 bytes a weight and 2·T
// flops; x is read rows/(4·TILE_Q) times.

import package::entry::{group_of};
import package::registers::{TILE_T, TILE_Q, Tokens, Sums, add};
import package::matmul_nf4_forward::{params, x, y, owned, scales_of};
import package::nf4::{words4, bias4};
import package::nf4_select::{decode};

enable subgroups;
// What the loops depend on is the same for a whole subgroup, which the compiler cannot see.
diagnostic(off, subgroup_uniformity);

const LANES: u32 = 4u; // invocations of a workgroup

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32,
        @builtin(subgroup_invocation_id) id: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  // Where the numbers of a subgroup's invocations have gaps, each works for itself.
  let present = subgroupAdd(1u);
  let dense = subgroupAll(id < present);
  let size = select(1u, present, dense);
  let base = select(id, 0u, dense);
  let t0 = ((group / params.row_tiles) * LANES + lane) * TILE_T;
  let n0 = (group % params.row_tiles) * 4u * TILE_Q;
  let own = owned(t0, n0);
  // unroll q TILE_Q {
  var sums_q0 = Sums();
  // }
  for (var span = 0u; span < params.cols4; span += params.span4) {
    let scales = scales_of(own, span);
    for (var first = span; first < span + params.span4; first += size) {
      let column4 = min(first + id - base, params.cols4 - 1u);
      let shift = (column4 & 1u) * 16u;
      // unroll q TILE_Q {
      let p_q0 = words4(params.packed, own.row_q0 + column4, params.cols4) >> vec4<u32>(shift);
      let w_q0 = mat4x4<f32>(decode(p_q0.x) * scales.of_q0.x, decode(p_q0.y) * scales.of_q0.y,
                             decode(p_q0.z) * scales.of_q0.z, decode(p_q0.w) * scales.of_q0.w);
      // }
      let count = min(size, span + params.span4 - first);
      for (var i = 0u; i < count; i++) {
        var v: Tokens;
        // unroll r TILE_T {
        v.of_r0 = x[own.x_r0 + first + i];
        // }
        // unroll q TILE_Q {
        let g_q0 = mat4x4<f32>(subgroupShuffle(w_q0[0], base + i), subgroupShuffle(w_q0[1], base + i),
                               subgroupShuffle(w_q0[2], base + i), subgroupShuffle(w_q0[3], base + i));
        add(&sums_q0, v, g_q0);
        // }
      }
    }
  }
  // unroll q TILE_Q {
  if (n0 + 4u * 0u /*q*/ < params.rows) {
    let bias_q0 = bias4(params.bias, own.n_q0);
    // unroll r TILE_T {
    if (t0 + 0u /*r*/ < params.tokens) {
      y[(t0 + 0u /*r*/) * (params.y_stride / 4u) + (params.y_first + own.n_q0) / 4u] = sums_q0.of_r0 + bias_q0;
    }
    // }
  }
  // }
}
