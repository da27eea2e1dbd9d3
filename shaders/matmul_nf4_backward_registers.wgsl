// dx[t, k] (+)= sum_n dy[t, n] * W[n, k], the gradient through the frozen NF4 weight, read from the same packed layout
// as the forward pass.
//
// A workgroup owns TILE_T tokens × 64·TILE_W columns, an invocation TILE_T × 8·TILE_W sums in named registers: TILE_W
// words of a row share one absmax. No barrier and no shared memory (see matmul_nf4_forward_registers). Numerics:
// float32, in the order of n, from dx on when accumulating: cutting W by rows gives the same bytes. 0.516 bytes a
// weight and 2·T flops; dy is read K/(64·TILE_W) times.

import package::entry::{group_of};
import package::columns::{TILE_T, TILE_W, QUAD, Sums};
import package::matmul_nf4_backward::{params, dy, dx};
import package::nf4::{Absmax, region, scale};
import package::nf4_select::{decode};

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let absmax = Absmax(params.codes, params.nested, params.first_block, params.shifts, params.offset);
  let t0 = (group / params.col_tiles) * TILE_T;
  let word0 = ((group % params.col_tiles) * 8u + lane) * TILE_W;
  let last_t = params.tokens - 1u;
  // unroll r TILE_T {
  let dy_r0 = min(t0 + 0u /*r*/, last_t) * params.dy_stride4 + params.dy_first4;
  // }
  // unroll w TILE_W {
  let word_w0 = min(word0 + 0u /*w*/, params.words - 1u);
  var sums_w0 = Sums();
  // }
  // Tokens beyond the last are computed from the last one's dy: they load and store its values once more.
  // unroll r TILE_T {
  let at_r0 = (min(t0 + 0u /*r*/, last_t) * params.words + word0) * 2u;
  // }
  if (params.accumulate == 1u) {
    // unroll w TILE_W {
    if (word0 + 0u /*w*/ < params.words) {
      // unroll r TILE_T {
      sums_w0.lo_r0 = dx[at_r0 + 2u * 0u /*w*/];
      sums_w0.hi_r0 = dx[at_r0 + 2u * 0u /*w*/ + 1u];
      // }
    }
    // }
  }
  for (var n = 0u; n < params.rows; n += QUAD) {
    // unroll r TILE_T {
    let v_r0 = dy[dy_r0 + n / QUAD];
    // }
    // unroll j QUAD {
    let row_j0 = (n + 0u /*j*/) * params.words;
    let s_j0 = scale(absmax, (row_j0 + min(word0, params.words - 1u)) * 8u);
    // unroll w TILE_W {
    let codes_j0_w0 = region[params.packed + row_j0 + word_w0];
    let a_j0_w0 = decode(codes_j0_w0) * s_j0;
    let b_j0_w0 = decode(codes_j0_w0 >> 16u) * s_j0;
    // unroll r TILE_T {
    sums_w0.lo_r0 += v_r0[0u /*j*/] * a_j0_w0;
    sums_w0.hi_r0 += v_r0[0u /*j*/] * b_j0_w0;
    // }
    // }
    // }
  }
  // unroll w TILE_W {
  if (word0 + 0u /*w*/ < params.words) {
    // unroll r TILE_T {
    dx[at_r0 + 2u * 0u /*w*/] = sums_w0.lo_r0;
    dx[at_r0 + 2u * 0u /*w*/ + 1u] = sums_w0.hi_r0;
    // }
  }
  // }
}
