// dx[t, k] (+)= sum_n dy[t, n] * W[n, k], the gradient through the frozen NF4 weight, read from the same packed layout
// as the forward pass.
//
// The variant for devices with subgroups, of whatever size. A workgroup owns LANES·TILE_T tokens × 8 columns, a word of
// each row, an invocation TILE_T of the tokens in named registers. The invocations of a subgroup share the decoding:
// each takes other rows and hands them to the rest by shuffles (see matmul_nf4_forward_subgroup). No barrier and no
// shared memory. Numerics: float32, in the order of n, from dx on when accumulating: cutting W by rows gives the same
// bytes. 0.516 bytes a weight and 2·T flops; dy is read K/8 times.

import package::entry::{group_of};
import package::columns::{TILE_T, QUAD, Sums};
import package::matmul_nf4_backward::{params, dy, dx};
import package::nf4::{Absmax, region, scale};
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
  let absmax = Absmax(params.codes, params.nested, params.first_block, params.shifts, params.offset);
  // Where the numbers of a subgroup's invocations have gaps, each works for itself.
  let present = subgroupAdd(1u);
  let dense = subgroupAll(id < present);
  let size = select(1u, present, dense);
  let base = select(id, 0u, dense);
  let t0 = ((group / params.col_tiles) * LANES + lane) * TILE_T;
  let word = group % params.col_tiles;
  let last_t = params.tokens - 1u;
  var sums = Sums();
  // unroll r TILE_T {
  let dy_r0 = min(t0 + 0u /*r*/, last_t) * params.dy_stride4 + params.dy_first4;
  let at_r0 = ((t0 + 0u /*r*/) * params.words + word) * 2u;
  if (params.accumulate == 1u && t0 + 0u /*r*/ < params.tokens) {
    sums.lo_r0 = dx[at_r0];
    sums.hi_r0 = dx[at_r0 + 1u];
  }
  // }
  let quads = params.rows / QUAD;
  for (var first = 0u; first < quads; first += size) {
    let own = min(first + id - base, quads - 1u) * QUAD;
    // unroll j QUAD {
    let i_j0 = (own + 0u /*j*/) * params.words + word;
    let s_j0 = scale(absmax, i_j0 * 8u);
    let codes_j0 = region[params.packed + i_j0];
    let a_j0 = decode(codes_j0) * s_j0;
    let b_j0 = decode(codes_j0 >> 16u) * s_j0;
    // }
    let count = min(size, quads - first);
    for (var i = 0u; i < count; i++) {
      // unroll r TILE_T {
      let v_r0 = dy[dy_r0 + first + i];
      // }
      // unroll j QUAD {
      let g_j0 = subgroupShuffle(a_j0, base + i);
      let h_j0 = subgroupShuffle(b_j0, base + i);
      // unroll r TILE_T {
      sums.lo_r0 += v_r0[0u /*j*/] * g_j0;
      sums.hi_r0 += v_r0[0u /*j*/] * h_j0;
      // }
      // }
    }
  }
  // unroll r TILE_T {
  if (t0 + 0u /*r*/ < params.tokens) {
    dx[at_r0] = sums.lo_r0;
    dx[at_r0 + 1u] = sums.hi_r0;
  }
  // }
}
