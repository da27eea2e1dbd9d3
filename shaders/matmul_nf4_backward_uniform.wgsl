// dx[t, k] (+)= sum_n dy[t, n] * W[n, k], the gradient through the frozen NF4 weight, read from the same packed layout
// as the forward pass.
//
// The variant for CPU devices whose storage loads are slow: dy, the maps and the scales come from uniform arrays (see
// matmul_nf4_forward_uniform). One dispatch takes at most 512 rows of W and 32 tokens. A workgroup owns these ×
// 64·TILE_W columns, an invocation TILE_T × 8·TILE_W sums in named registers: TILE_W words of a row share one absmax.
// Numerics: float32, in the order of n, from dx on when accumulating. 0.516 bytes a weight and 2·T flops; dy is read
// K/(64·TILE_W) times.

import package::entry::{group_of};
import package::columns::{TILE_T, TILE_W, QUAD, Sums};
import package::nf4::{region};
import package::nf4_uniform::{Absmax, scale, decode};

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  words: u32,       // K / 8
  first_row: u32,   // rows of this shard that the chunk covers
  end_row: u32,
  window_first: u32, // column of dy in the window that belongs to first_row
  packed: u32,      // word offset in region
  offset: f32,      // of the double quantization
  codes_first: u32, // the shard's block 0 in bytes from the window of codes, modulo 2^32
  nested_first: u32, // the nested absmax of the shard's first group in the window of nested
  first_block: u32, // the shard's first absmax within its group
  shifts: u32, // log2 of the block size, and at bit 8 that of the blocks that share a nested absmax
  first_token: u32, // of the window
  accumulate: u32,  // 1: dx +=
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(5) var<uniform> dy: array<vec4<f32>, 4096>;       // [32, 128], the window of the chunk
@group(0) @binding(6) var<storage, read_write> dx: array<vec4<f32>>; // [tokens, 2·words]

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let absmax = Absmax(params.codes_first, params.nested_first, params.first_block, params.shifts, params.offset);
  let word0 = (group * 8u + lane) * TILE_W;
  let last_t = params.tokens - 1u;
  // unroll w TILE_W {
  let word_w0 = min(word0 + 0u /*w*/, params.words - 1u);
  var sums_w0 = Sums();
  // }
  if (params.accumulate == 1u) {
    // unroll w TILE_W {
    let from_w0 = 2u * word_w0;
    // unroll r TILE_T {
    sums_w0.lo_r0 = dx[min(params.first_token + 0u /*r*/, last_t) * params.words * 2u + from_w0];
    sums_w0.hi_r0 = dx[min(params.first_token + 0u /*r*/, last_t) * params.words * 2u + from_w0 + 1u];
    // }
    // }
  }
  for (var n = params.first_row; n < params.end_row; n += QUAD) {
    let column = (params.window_first + n - params.first_row) / QUAD;
    // unroll r TILE_T {
    let v_r0 = dy[128u * 0u /*r*/ + column];
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
    let at_w0 = 2u * (word0 + 0u /*w*/);
    // unroll r TILE_T {
    if (params.first_token + 0u /*r*/ < params.tokens) {
      dx[(params.first_token + 0u /*r*/) * params.words * 2u + at_w0] = sums_w0.lo_r0;
      dx[(params.first_token + 0u /*r*/) * params.words * 2u + at_w0 + 1u] = sums_w0.hi_r0;
    }
    // }
  }
  // }
}
