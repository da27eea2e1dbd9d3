// y[n] = sum_k x[k] * W[n, k] (+ bias[n]) for one token, W frozen in NF4 with double quantization (QLoRA, arXiv
// 2305.14314, equations 5 and 6).
//
// The variant for generation on CPU devices whose storage loads are slow: everything that is read comes from uniform
// arrays, the packed weights through WINDOWS windows of the region, of params.piece rows each (see
// matmul_nf4_forward_uniform). An invocation owns TILE_R rows in each of them, a workgroup 8·TILE_R; or in every
// params.parts-th of them, for more workgroups where rows are long. A window is a loop of its own, since the binding
// cannot be an index. Numerics: float32; 32 products are added before they are scaled by their absmax; in the order of
// k. 0.516 bytes a weight and 2 flops.

import package::entry::{group_of};
import package::nf4::{region};
import package::nf4_uniform::{Absmax, scale, decode};

const WINDOWS: u32 = 1u; // at most 7
const TILE_R: u32 = 1u;

struct Params {
  group_base: u32,
  group_end: u32,
  first_row: u32,   // rows of this shard that the dispatch covers
  end_row: u32,
  piece: u32,       // rows of one window
  parts: u32,       // 1: a workgroup takes all windows; else those with its number modulo so many
  cols32: u32,      // K / 32
  x_first4: u32,    // where x begins in its window
  y_first: u32,     // of the shard's first row
  bias: u32,        // word offset in region; 0xffffffff: none
  offset: f32,      // of the double quantization
  codes_first: u32, // the shard's block 0 in bytes from the window of codes, modulo 2^32
  nested_first: u32, // the nested absmax of the shard's first group in the window of nested
  first_block: u32, // the shard's first absmax within its group
  shifts: u32, // log2 of the block size, and at bit 8 that of the blocks that share a nested absmax
  first_w0: u32,    // where a window's first row begins in it, in vec4
  first_w1: u32,
  first_w2: u32,
  first_w3: u32,
  first_w4: u32,
  first_w5: u32,
  first_w6: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(5) var<uniform> x: array<vec4<f32>, 4096>;
@group(0) @binding(6) var<uniform> packed_w0: array<vec4<u32>, 4096>; // windows of the region: 32 codes each
@group(0) @binding(7) var<uniform> packed_w1: array<vec4<u32>, 4096>;
@group(0) @binding(8) var<uniform> packed_w2: array<vec4<u32>, 4096>;
@group(0) @binding(9) var<uniform> packed_w3: array<vec4<u32>, 4096>;
@group(0) @binding(10) var<uniform> packed_w4: array<vec4<u32>, 4096>;
@group(0) @binding(11) var<uniform> packed_w5: array<vec4<u32>, 4096>;
@group(0) @binding(12) var<uniform> packed_w6: array<vec4<u32>, 4096>;
@group(0) @binding(13) var<storage, read_write> y: array<f32>;

// Eight codes times eight elements of x.
fn dot8(word: u32, a: vec4<f32>, b: vec4<f32>) -> f32 {
  return dot(decode(word), a) + dot(decode(word >> 16u), b);
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let absmax = Absmax(params.codes_first, params.nested_first, params.first_block, params.shifts, params.offset);
  let mine = (group / params.parts * 8u + lane) * TILE_R;
  // unroll w WINDOWS {
  let end_w0 = select(0u, params.cols32, 0u /*w*/ % params.parts == group % params.parts);
  // unroll r TILE_R {
  let local_w0_r0 = min(mine + 0u /*r*/, params.piece - 1u);
  let row_w0_r0 = min(params.first_row + 0u /*w*/ * params.piece + local_w0_r0, params.end_row - 1u);
  let block_w0_r0 = row_w0_r0 * params.cols32;
  let at_w0_r0 = params.first_w0 + local_w0_r0 * params.cols32;
  var acc_w0_r0 = 0.0;
  // }
  for (var k = 0u; k < end_w0; k++) {
    let to = params.x_first4 + 8u * k;
    let x0 = x[to];
    let x1 = x[to + 1u];
    let x2 = x[to + 2u];
    let x3 = x[to + 3u];
    let x4 = x[to + 4u];
    let x5 = x[to + 5u];
    let x6 = x[to + 6u];
    let x7 = x[to + 7u];
    // unroll r TILE_R {
    let p_r0 = packed_w0[at_w0_r0 + k];
    let sum_r0 = dot8(p_r0.x, x0, x1) + dot8(p_r0.y, x2, x3) + dot8(p_r0.z, x4, x5) + dot8(p_r0.w, x6, x7);
    acc_w0_r0 += scale(absmax, (block_w0_r0 + k) * 32u) * sum_r0;
    // }
  }
  // unroll r TILE_R {
  if (end_w0 > 0u && mine + 0u /*r*/ < params.piece && params.first_row + 0u /*w*/ * params.piece + local_w0_r0 < params.end_row) {
    if (params.bias != 0xffffffffu) { acc_w0_r0 += bitcast<f32>(region[params.bias + row_w0_r0]); }
    y[params.y_first + row_w0_r0] = acc_w0_r0;
  }
  // }
  // }
}
