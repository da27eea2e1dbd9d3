// y[t, n] (+)= alpha * sum_k x[t, k] * w[n, k], w in float32 (LoRA) or bfloat16 (the head).
//
// The variant for GPUs: tiles in workgroup memory as in matmul_nf4_forward_tiled. K may be cut into parts of SUM
// columns, each summed by workgroups of its own into its own y: few tokens and rows alone would not fill a GPU.
// Numerics: float32 sums over SUM columns, added to y or to the sum of those before.

import package::entry::{group_of};
import package::weights::{weights};
import package::tile::{TX, TY, LANES, ROWS4, COLS4, XR, WR, XB, Sums, place_of, packed_of, Piece, bring, bring_block, multiply};

const WB: u32 = 1u;    // 4×4 blocks of w that an invocation brings, of 4·WR
const SUM: u32 = 1073741824u; // columns of a sum, a multiple of 16; by default all

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  first_token: u32, // of the bound piece of x
  padded16: u32,   // K / 16, rounded up
  rows: u32,       // rows of w in this shard
  cols4: u32,      // K / 4
  y_stride: u32,   // N, all shards, padded to a multiple of 4
  y_first: u32,    // first row of this shard
  row_tiles: u32,
  accumulate: u32, // 1: y +=
  first_col4: u32, // columns / 4 from which parts are taken, a multiple of 4
  end_col4: u32,   // and one past the last
  part4: u32,      // columns / 4 of a part
  part_tiles: u32, // workgroups of a part
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>; // [tokens / 64, 16·padded16, 16]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [parts, tokens, y_stride / 4]

fn row4(n: u32, k: u32, end: u32) -> vec4<f32> {
  if (n >= params.rows || k >= end) { return vec4<f32>(); }
  return weights(n * params.cols4 + k);
}

// Adds to four outputs of a token or writes them; those beyond the last row are padding.
fn store(part: u32, t: u32, n: u32, v: vec4<f32>, add: bool) {
  if (t >= params.tokens || n >= params.rows) { return; }
  let at = ((part * params.tokens + t) * params.y_stride + params.y_first + n) / 4u;
  var sum = params.alpha * v;
  if (add) { sum += y[at]; }
  y[at] = sum;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let at = place_of(group, params.part_tiles, params.row_tiles);
  let begin = params.first_col4 + at.part * params.part4;
  let end = min(begin + params.part4, params.end_col4);
  let n0 = at.outputs * 4u * WR;
  let tx = lane % TX;
  let ty = lane / TX;
  let k_lane = lane % 4u; // which 4 columns of a step the invocation brings of w
  // unroll a ROWS4 {
  let t_a0 = params.first_token + (at.tokens * XR + ty + 0u /*a*/ * TY) * 4u;
  // }
  // unroll b COLS4 {
  let n_b0 = n0 + (tx + 0u /*b*/ * TX) * 4u;
  // }
  var sums = Sums();
  let packed = packed_of(at.tokens, params.padded16, 0u, lane);
  // unroll j WB {
  let o_j0 = (lane + 0u /*j*/ * LANES) / 4u; // which 4 rows of w
  let n_j0 = n0 + 4u * o_j0;
  // }
  for (var k0 = begin; k0 < end; k0 += 4u) {
    var piece: Piece;
    // unroll i XB {
    piece.of_i0 = x[packed.at_i0 + 64u * k0];
    // }
    // unroll j WB {
    let rows_j0 = mat4x4<f32>(row4(n_j0, k0 + k_lane, end), row4(n_j0 + 1u, k0 + k_lane, end),
                              row4(n_j0 + 2u, k0 + k_lane, end), row4(n_j0 + 3u, k0 + k_lane, end));
    // }
    workgroupBarrier();
    bring(piece, lane);
    // unroll j WB {
    if (o_j0 < WR) { bring_block(transpose(rows_j0), o_j0, k_lane); }
    // }
    workgroupBarrier();
    multiply(&sums, tx, ty, 2u);
    if ((k0 + 4u - begin) % (SUM / 4u) == 0u || k0 + 4u >= end) {
      let add = params.accumulate == 1u || k0 >= begin + SUM / 4u;
      // unroll a ROWS4 {
      // unroll b COLS4 {
      store(at.part, t_a0, n_b0, sums.of0_a0_b0, add);
      store(at.part, t_a0 + 1u, n_b0, sums.of1_a0_b0, add);
      store(at.part, t_a0 + 2u, n_b0, sums.of2_a0_b0, add);
      store(at.part, t_a0 + 3u, n_b0, sums.of3_a0_b0, add);
      // }
      // }
      sums = Sums();
    }
  }
}
