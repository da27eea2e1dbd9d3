// y[t, n] = sum_k x[t, k] * W[n, k] (+ bias[n]), W frozen in NF4 with double quantization: the variant for GPUs.
//
// A workgroup of TX × TY invocations owns 4·XR tokens × 4·WR rows of W and walks K in steps of 16. Each step brings
// both operands into workgroup memory, k-major as vec4: x as pack_tiles_forward laid it, W decoded through a table in
// workgroup memory and transposed in 4×4 blocks. Then an invocation multiplies its 4·ROWS4 × 4·COLS4 outputs from
// registers: ROWS4+COLS4 loads serve 16·ROWS4·COLS4 products. An absmax is looked up where its block of W begins. The
// rows of W within a workgroup tile are swapped by k, so that the transposed blocks of neighbouring invocations go to
// different banks. The step is written out, for what an index costs that is not a constant. K may be cut into parts,
// each summed by workgroups of its own into its own y: a GPU is left idle by a last round of workgroups that fills it
// in part. Numerics: float32 sums in the order of k, of each part. 256·(XR+WR) + 64 bytes of workgroup memory.

import package::entry::{group_of};
import package::nf4::{Absmax, scales4, words4, bias4};
import package::nf4_table::{bring_codebook, decode4};
import package::tile::{TX, TY, LANES, ROWS4, COLS4, XR, WR, XB, Sums, place_of, packed_of, Piece, bring, bring_block, multiply};

const WB: u32 = 1u;    // 4×4 blocks of W that an invocation brings, of 4·WR

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  first_token: u32, // of the bound piece of x
  padded16: u32,    // K / 16, rounded up
  rows: u32,        // rows of W in this shard, a multiple of 4
  cols4: u32,       // K / 4
  y_stride: u32,    // N, all shards
  y_first: u32,     // first row of this shard
  packed: u32,      // word offsets in region
  codes: u32,
  nested: u32,
  bias: u32,        // 0xffffffff: none
  offset: f32,      // of the double quantization
  first_block: u32, // the shard's first absmax within its group
  shifts: u32, // log2 of the block size, and at bit 8 that of the blocks that share a nested absmax
  row_tiles: u32,
  span4: u32,       // columns / 4 of a row that share one absmax
  part4: u32,       // columns / 4 of a part, a multiple of span4 and of 4
  part_tiles: u32,  // workgroups of a part
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>; // [tokens / 64, 16·padded16, 16]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [parts, tokens, y_stride / 4]

// The absmax of four rows from row n on at column 4·k, and in codes_at the words with their codes. Beyond the matrix
// they may be any: x is zero there, or the output is not stored.
fn scales_at(n: u32, k: u32) -> vec4<f32> {
  if (n >= params.rows || k >= params.cols4) { return vec4<f32>(); }
  let absmax = Absmax(params.codes, params.nested, params.first_block, params.shifts, params.offset);
  return scales4(absmax, n * params.cols4 + k, params.cols4);
}

fn codes_at(n: u32, k: u32) -> vec4<u32> {
  if (n >= params.rows || k >= params.cols4) { return vec4<u32>(); }
  return words4(params.packed, n * params.cols4 + k, params.cols4) >> vec4<u32>((k & 1u) * 16u);
}

// Writes four outputs of a token that exist; the bias is in the first part.
fn store(part: u32, t: u32, n: u32, v: vec4<f32>) {
  if (t >= params.tokens || n >= params.rows) { return; }
  var b = vec4<f32>();
  if (part == 0u) { b = bias4(params.bias, n); }
  y[((part * params.tokens + t) * params.y_stride + params.y_first + n) / 4u] = v + b;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  bring_codebook(lane);
  let at = place_of(group, params.part_tiles, params.row_tiles);
  let begin = at.part * params.part4;
  let end = min(begin + params.part4, params.cols4);
  let n0 = at.outputs * 4u * WR;
  let tx = lane % TX;
  let ty = lane / TX;
  let k_lane = lane % 4u; // which 4 columns of a step the invocation brings of W
  var sums = Sums();
  let packed = packed_of(at.tokens, params.padded16, 0u, lane);
  // unroll j WB {
  let o_j0 = (lane + 0u /*j*/ * LANES) / 4u; // which 4 rows of W
  let n_j0 = n0 + 4u * o_j0;
  var scales_j0 = vec4<f32>();
  // }
  for (var k0 = begin; k0 < end; k0 += 4u) {
    var piece: Piece;
    // unroll i XB {
    piece.of_i0 = x[packed.at_i0 + 64u * k0];
    // }
    if ((k0 & (params.span4 - 1u)) == 0u) {
      // unroll j WB {
      scales_j0 = scales_at(n_j0, k0 + k_lane);
      // }
    }
    // unroll j WB {
    let codes_j0 = codes_at(n_j0, k0 + k_lane);
    // }
    workgroupBarrier();
    bring(piece, lane);
    // unroll j WB {
    if (o_j0 < WR) {
      bring_block(mat4x4<f32>(decode4(codes_j0, 4u) * scales_j0, decode4(codes_j0, 0u) * scales_j0,
                              decode4(codes_j0, 12u) * scales_j0, decode4(codes_j0, 8u) * scales_j0), o_j0, k_lane);
    }
    // }
    workgroupBarrier();
    multiply(&sums, tx, ty, 2u);
  }
  // unroll a ROWS4 {
  // unroll b COLS4 {
  let n_a0_b0 = n0 + (tx + 0u /*b*/ * TX) * 4u;
  let t_a0_b0 = params.first_token + (at.tokens * XR + ty + 0u /*a*/ * TY) * 4u;
  store(at.part, t_a0_b0, n_a0_b0, sums.of0_a0_b0);
  store(at.part, t_a0_b0 + 1u, n_a0_b0, sums.of1_a0_b0);
  store(at.part, t_a0_b0 + 2u, n_a0_b0, sums.of2_a0_b0);
  store(at.part, t_a0_b0 + 3u, n_a0_b0, sums.of3_a0_b0);
  // }
  // }
}
