// y[t, n] (+)= alpha * sum_k x[t, k] * w[n, k], w in float32 (LoRA) or bfloat16 (the head).
//
// A workgroup owns TILE_T tokens × 32·TILE_Q rows of w, an invocation TILE_T × 4·TILE_Q sums in named registers; no
// barrier (see matmul_nf4_forward_registers). Numerics: float32 in the order of k. 4 (2) bytes a weight and 2·T flops;
// x is read rows/(32·TILE_Q) times. Where the rows are no multiple of 4 (a vocabulary), y has room for the next
// multiple, and what is written there repeats the last row.

import package::entry::{group_of};
import package::registers::{TILE_T, TILE_Q, Tokens, Sums, add};
import package::matmul_forward::{params, x, y};
import package::weights::{rows4, weights4};

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let t0 = (group / params.row_tiles) * TILE_T;
  let n0 = ((group % params.row_tiles) * 8u + lane) * 4u * TILE_Q;
  let last_t = params.tokens - 1u;
  // unroll r TILE_T {
  let x_r0 = min(t0 + 0u /*r*/, last_t) * params.cols4;
  // }
  // unroll q TILE_Q {
  let n_q0 = n0 + 4u * 0u /*q*/;
  let rows_q0 = rows4(n_q0, params.rows - 1u, params.cols4);
  var sums_q0 = Sums();
  // }
  for (var k = 0u; k < params.cols4; k++) {
    var v: Tokens;
    // unroll r TILE_T {
    v.of_r0 = x[x_r0 + k];
    // }
    // unroll q TILE_Q {
    let w_q0 = weights4(rows_q0, k);
    add(&sums_q0, v, w_q0);
    // }
  }
  // Tokens beyond the last were computed from the last one's x: they load and store its values once more.
  // unroll r TILE_T {
  let y_r0 = (min(t0 + 0u /*r*/, last_t) * params.y_stride + params.y_first) / 4u;
  // }
  // unroll q TILE_Q {
  if (n_q0 < params.rows) {
    // unroll r TILE_T {
    sums_q0.of_r0 *= params.alpha;
    // }
    if (params.accumulate == 1u) {
      // unroll r TILE_T {
      sums_q0.of_r0 += y[y_r0 + n_q0 / 4u];
      // }
    }
    // unroll r TILE_T {
    y[y_r0 + n_q0 / 4u] = sums_q0.of_r0;
    // }
  }
  // }
}
