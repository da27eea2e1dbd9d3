// dx[t, k] (+)= alpha * sum_n dy[t, n] * w[n, k], w in float32 (LoRA) or bfloat16 (the head).
//
// The variant for GPUs: tiles in workgroup memory as in matmul_nf4_backward_tiled. The rows may be cut into parts of
// SUM, each summed by workgroups of its own into its own dx: few tokens and columns alone would not fill a GPU.
// Numerics: float32 sums over SUM rows, added to dx or to the sum of those before: over a vocabulary of 50,000 rows one
// running sum would lose three bits, and cutting w at multiples of 256 rows gives the same bytes.

import package::entry::{group_of};
import package::weights::{weights};
import package::tile::{TX, TY, LANES, ROWS4, COLS4, XR, WR, XB, ws, Sums, place_of, packed_of, Piece, bring, multiply};

const WB: u32 = 2u;    // vec4 of w that an invocation brings, of 16·WR
const SUM: u32 = 256u; // rows of a sum

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  first_token: u32, // of the bound piece of dy
  padded16: u32,    // N / 16 of all shards, rounded up
  rows: u32,       // rows of w in this shard, a multiple of 4
  cols4: u32,      // K / 4
  dy_first: u32,    // first row of this shard
  col_tiles: u32,
  accumulate: u32, // 1: dx +=
  part4: u32,      // rows / 4 of a part
  part_tiles: u32, // workgroups of a part
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<vec4<f32>>; // [tokens / 64, 16·padded16, 16]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [parts, tokens, cols4]

fn columns4(n: u32, k4: u32, end: u32) -> vec4<f32> {
  if (n >= end || k4 >= params.cols4) { return vec4<f32>(); }
  return weights(n * params.cols4 + k4);
}

// Adds to four columns of a token where they exist, or writes them.
fn store(part: u32, t: u32, k4: u32, v: vec4<f32>, add: bool) {
  if (t >= params.tokens || k4 >= params.cols4) { return; }
  let at = (part * params.tokens + t) * params.cols4 + k4;
  var sum = params.alpha * v;
  if (add) { sum += dx[at]; }
  dx[at] = sum;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let at = place_of(group, params.part_tiles, params.col_tiles);
  let begin = at.part * params.part4 * 4u;
  let end = min(begin + params.part4 * 4u, params.rows);
  let k0 = at.outputs * WR; // in vec4
  let tx = lane % TX;
  let ty = lane / TX;
  // unroll a ROWS4 {
  let t_a0 = params.first_token + (at.tokens * XR + ty + 0u /*a*/ * TY) * 4u;
  // }
  // unroll b COLS4 {
  let k_b0 = k0 + tx + 0u /*b*/ * TX;
  // }
  var sums = Sums();
  let packed = packed_of(at.tokens, params.padded16, params.dy_first, lane);
  // unroll j WB {
  let o_j0 = (lane + 0u /*j*/ * LANES) % WR; // which 4 columns
  let n_j0 = (lane + 0u /*j*/ * LANES) / WR; // of which row of a step
  // }
  for (var n0 = begin; n0 < end; n0 += 16u) {
    var piece: Piece;
    // unroll i XB {
    piece.of_i0 = dy[packed.at_i0 + 16u * n0];
    // }
    // unroll j WB {
    let v_j0 = columns4(n0 + n_j0, k0 + o_j0, end);
    // }
    workgroupBarrier();
    bring(piece, lane);
    // unroll j WB {
    ws[n_j0][o_j0] = v_j0;
    // }
    workgroupBarrier();
    multiply(&sums, tx, ty, 0u);
    let next = n0 + 16u;
    if (next % SUM == 0u || next >= end) {
      let add = params.accumulate == 1u || n0 >= begin + SUM;
      // unroll a ROWS4 {
      // unroll b COLS4 {
      store(at.part, t_a0, k_b0, sums.of0_a0_b0, add);
      store(at.part, t_a0 + 1u, k_b0, sums.of1_a0_b0, add);
      store(at.part, t_a0 + 2u, k_b0, sums.of2_a0_b0, add);
      store(at.part, t_a0 + 3u, k_b0, sums.of3_a0_b0, add);
      // }
      // }
      sums = Sums();
    }
  }
}
