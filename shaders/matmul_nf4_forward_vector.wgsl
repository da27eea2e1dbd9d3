// y[t, n] = sum_k x[t, k] * W[n, k] (+ bias[n]), W frozen in NF4 with double quantization (QLoRA, arXiv 2305.14314,
// equations 5 and 6), for a few tokens.
//
// The variant for generation on GPUs, bound by the bandwidth of the weights. A workgroup owns TILE_T tokens × 8 rows of
// W, each half of its 64 invocations 4 rows. The 32 invocations of a half read neighbouring words of a row, each the
// words lane, lane + 32, …, and add their sums up in workgroup memory. Numerics: float32; a word's 8 products are added
// before they are scaled by their absmax; an invocation's words in the order of k, then the invocations' sums by
// halves. 0.516 bytes a weight and 2·T flops.

import package::entry::{group_of};
import package::vector::{TILE_T, sums, add_up};
import package::matmul_nf4_forward::{params, x, y};
import package::nf4::{Absmax, region, scale, bias4};
import package::nf4_table::{bring_codebook, decode};
import package::products::{dots};

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let absmax = Absmax(params.codes, params.nested, params.first_block, params.shifts, params.offset);
  let t0 = (group / params.row_tiles) * TILE_T;
  let n0 = ((group % params.row_tiles) * 2u + lane / 32u) * 4u;
  let words = params.cols4 / 2u;
  let last_t = params.tokens - 1u;
  bring_codebook(lane);
  workgroupBarrier();
  // unroll r TILE_T {
  let x_r0 = min(t0 + 0u /*r*/, last_t) * params.cols4;
  var acc_r0 = vec4<f32>();
  // }
  let row0 = min(n0, params.rows - 4u) * words;
  let row1 = row0 + words;
  let row2 = row1 + words;
  let row3 = row2 + words;
  for (var k = lane % 32u; k < words; k += 32u) {
    let p0 = region[params.packed + row0 + k];
    let p1 = region[params.packed + row1 + k];
    let p2 = region[params.packed + row2 + k];
    let p3 = region[params.packed + row3 + k];
    let s = vec4<f32>(scale(absmax, (row0 + k) * 8u), scale(absmax, (row1 + k) * 8u),
                      scale(absmax, (row2 + k) * 8u), scale(absmax, (row3 + k) * 8u));
    let a = mat4x4<f32>(decode(p0), decode(p1), decode(p2), decode(p3));
    let b = mat4x4<f32>(decode(p0 >> 16u), decode(p1 >> 16u), decode(p2 >> 16u), decode(p3 >> 16u));
    // unroll r TILE_T {
    let u_r0 = x[x_r0 + 2u * k];
    let v_r0 = x[x_r0 + 2u * k + 1u];
    acc_r0 += s * (dots(u_r0, a) + dots(v_r0, b));
    // }
  }
  // unroll r TILE_T {
  sums[64u * 0u /*r*/ + lane] = acc_r0;
  // }
  add_up(lane);
  if (lane % 32u == 0u && n0 < params.rows) {
    let bias = bias4(params.bias, n0);
    // Tokens beyond the last were computed from the last one's x: they store its values once more.
    // unroll r TILE_T {
    y[min(t0 + 0u /*r*/, last_t) * (params.y_stride / 4u) + (params.y_first + n0) / 4u] = sums[64u * 0u /*r*/ + lane] + bias;
    // }
  }
}
