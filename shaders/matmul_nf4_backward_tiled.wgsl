// dx[t, k] (+)= sum_n dy[t, n] * W[n, k], the gradient through the frozen NF4 weight, read from the same packed layout
// as the forward pass.
//
// The variant for GPUs. A workgroup of TX × TY invocations owns 4·XR tokens × 4·WR columns and walks the rows of W in
// steps of 16, as matmul_nf4_forward_tiled walks the columns: dy comes as pack_tiles_forward laid it; W is decoded word
// by word, a word being 8 neighbouring columns of a row, whose halves go to the two halves of a workgroup tile. The
// rows may be cut into parts, each summed by workgroups of its own into its own dx, as the forward product's columns.
// Numerics: float32 sums in the order of n, of each part, from dx on when accumulating, so that cutting W into shards
// changes no byte where it is not in parts. 256·(XR+WR) + 64 bytes of workgroup memory.

import package::entry::{group_of};
import package::nf4::{Absmax, region, scale};
import package::nf4_table::{bring_codebook, decode};
import package::tile::{TX, TY, LANES, ROWS4, COLS4, XR, WR, XB, ws, Sums, place_of, packed_of, Piece, bring, multiply};

const WB: u32 = 1u;    // words of W that an invocation brings, of 8·WR

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  first_token: u32, // of the bound piece of dy
  padded16: u32,    // N / 16 of all shards, rounded up
  rows: u32,        // rows of W in this shard, a multiple of 4
  words: u32,       // K / 8
  dy_first: u32,    // first row of this shard
  packed: u32,      // word offsets in region
  codes: u32,
  nested: u32,
  offset: f32,      // of the double quantization
  first_block: u32, // the shard's first absmax within its group
  shifts: u32, // log2 of the block size, and at bit 8 that of the blocks that share a nested absmax
  col_tiles: u32,
  accumulate: u32,  // 1: dx +=
  part_rows: u32,   // of a part, a multiple of 16
  part_tiles: u32,  // workgroups of a part
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> dy: array<vec4<f32>>; // [tokens / 64, 16·padded16, 16]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [parts, tokens, 2·words]

// Word i of row n, and in scale_at its absmax. Beyond the matrix they may be any: dy is zero there, or the output is
// not stored.
fn codes_at(n: u32, i: u32) -> u32 {
  if (n >= params.rows || i >= params.words) { return 0u; }
  return region[params.packed + n * params.words + i];
}

fn scale_at(n: u32, i: u32) -> f32 {
  if (n >= params.rows || i >= params.words) { return 0.0; }
  let absmax = Absmax(params.codes, params.nested, params.first_block, params.shifts, params.offset);
  return scale(absmax, (n * params.words + i) * 8u);
}

// dx where it is added to, for a token and four columns that exist; parts are added up elsewhere.
fn start(t: u32, k4: u32) -> vec4<f32> {
  if (params.accumulate == 0u || t >= params.tokens || k4 >= params.words * 2u) { return vec4<f32>(); }
  return dx[t * params.words * 2u + k4];
}

// Writes four columns of a token where they exist.
fn store(part: u32, t: u32, k4: u32, v: vec4<f32>) {
  if (t >= params.tokens || k4 >= params.words * 2u) { return; }
  dx[(part * params.tokens + t) * params.words * 2u + k4] = v;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  bring_codebook(lane);
  let at = place_of(group, params.part_tiles, params.col_tiles);
  let begin = at.part * params.part_rows;
  let end = min(begin + params.part_rows, params.rows);
  let k0 = at.outputs * WR; // in vec4
  let tx = lane % TX;
  let ty = lane / TX;
  var sums = Sums();
  // unroll a ROWS4 {
  // unroll b COLS4 {
  let o_a0_b0 = tx + 0u /*b*/ * TX; // place in a row of ws
  let k_a0_b0 = k0 + 2u * (o_a0_b0 % (WR / 2u)) + o_a0_b0 / (WR / 2u);
  let t_a0_b0 = params.first_token + (at.tokens * XR + ty + 0u /*a*/ * TY) * 4u;
  sums.of0_a0_b0 = start(t_a0_b0, k_a0_b0);
  sums.of1_a0_b0 = start(t_a0_b0 + 1u, k_a0_b0);
  sums.of2_a0_b0 = start(t_a0_b0 + 2u, k_a0_b0);
  sums.of3_a0_b0 = start(t_a0_b0 + 3u, k_a0_b0);
  // }
  // }
  let packed = packed_of(at.tokens, params.padded16, params.dy_first, lane);
  // unroll j WB {
  let o_j0 = (lane + 0u /*j*/ * LANES) % (WR / 2u); // which word
  let n_j0 = (lane + 0u /*j*/ * LANES) / (WR / 2u); // of which row of a step
  let word_j0 = k0 / 2u + o_j0;
  // }
  for (var n0 = begin; n0 < end; n0 += 16u) {
    var piece: Piece;
    // unroll i XB {
    piece.of_i0 = dy[packed.at_i0 + 16u * n0];
    // }
    // unroll j WB {
    let codes_j0 = codes_at(n0 + n_j0, word_j0);
    let scale_j0 = scale_at(n0 + n_j0, word_j0);
    // }
    workgroupBarrier();
    bring(piece, lane);
    // unroll j WB {
    ws[n_j0][o_j0] = decode(codes_j0) * scale_j0;
    ws[n_j0][o_j0 + WR / 2u] = decode(codes_j0 >> 16u) * scale_j0;
    // }
    workgroupBarrier();
    multiply(&sums, tx, ty, 0u);
  }
  // unroll a ROWS4 {
  // unroll b COLS4 {
  store(at.part, t_a0_b0, k_a0_b0, sums.of0_a0_b0);
  store(at.part, t_a0_b0 + 1u, k_a0_b0, sums.of1_a0_b0);
  store(at.part, t_a0_b0 + 2u, k_a0_b0, sums.of2_a0_b0);
  store(at.part, t_a0_b0 + 3u, k_a0_b0, sums.of3_a0_b0);
  // }
  // }
}
