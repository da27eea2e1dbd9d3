// y[t, n] = sum_k x[t, k] * W[n, k] (+ bias[n]), W frozen in NF4 with double quantization (QLoRA, arXiv 2305.14314,
// equations 5 and 6).
//
// The variant for CPU devices whose storage loads are slow: x, the maps and the scales come from uniform arrays, whose
// loads cost a twentieth. One dispatch takes a chunk of at most 512 columns of 32 tokens (64 KiB, see
// pack_chunks_forward) and rows whose absmax codes lie in one window; it adds to y unless the chunk is the first. A
// workgroup owns TILE_T tokens × 32·TILE_Q rows of W, an invocation TILE_T × 4·TILE_Q sums in named registers. A word
// of 8 codes is loaded once. Numerics: float32 products and sums in the order of k within a chunk, then of the chunks;
// a weight is codebook[code] * absmax, as bitsandbytes dequantizes it. 0.516 bytes a weight and 2·T flops; x is read
// rows/(32·TILE_Q) times.

import package::entry::{group_of};
import package::registers::{TILE_T, TILE_Q, Tokens, Sums, add};
import package::nf4::{words4, bias4};
import package::nf4_uniform::{Absmax, scales4, decode};

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  first_row: u32,   // rows of this shard that the dispatch covers, multiples of 4
  end_row: u32,
  cols4: u32,       // K / 4
  y_stride: u32,    // N, all shards
  y_first: u32,     // first row of this shard
  packed: u32,      // word offsets in region
  bias: u32,        // 0xffffffff: none
  offset: f32,      // of the double quantization
  codes_first: u32, // the shard's block 0 in bytes from the window of codes, modulo 2^32
  nested_first: u32, // the nested absmax of the shard's first group in the window of nested
  first_block: u32, // the shard's first absmax within its group
  shifts: u32, // log2 of the block size, and at bit 8 that of the blocks that share a nested absmax
  first_token: u32, // of the window
  first_col4: u32,  // of the chunk
  end_col4: u32,
  // Columns / 4 of a row that share one absmax: 16 or 8, or 2 where rows are no multiple of that. Not a constant, nor
  // is halves (2): compilers of CPU devices would unroll the loops over them and take a minute.
  span4: u32,
  halves: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(5) var<uniform> x: array<vec4<f32>, 4096>;           // [32, 128], the window of the chunk
@group(0) @binding(6) var<storage, read_write> y: array<vec4<f32>>;     // [tokens, y_stride / 4]

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let absmax = Absmax(params.codes_first, params.nested_first, params.first_block, params.shifts, params.offset);
  let n0 = params.first_row + (group * 8u + lane) * 4u * TILE_Q;
  let last_t = params.tokens - 1u;
  // unroll q TILE_Q {
  let n_q0 = min(n0 + 4u * 0u /*q*/, params.end_row - 4u);
  let row_q0 = n_q0 * params.cols4; // of four
  var sums_q0 = Sums();
  // }
  for (var span = params.first_col4; span < params.end_col4; span += params.span4) {
    // unroll q TILE_Q {
    let s_q0 = scales4(absmax, row_q0 + span, params.cols4);
    // }
    for (var pair = span; pair < span + params.span4; pair += 2u) {
      // unroll q TILE_Q {
      let p_q0 = words4(params.packed, row_q0 + pair, params.cols4);
      // }
      for (var half = 0u; half < params.halves; half++) {
        let at = pair + half - params.first_col4;
        let shift = half * 16u;
        var v: Tokens;
        // unroll r TILE_T {
        v.of_r0 = x[128u * 0u /*r*/ + at];
        // }
        // unroll q TILE_Q {
        let w_q0 = mat4x4<f32>(decode(p_q0.x >> shift) * s_q0.x, decode(p_q0.y >> shift) * s_q0.y,
                               decode(p_q0.z >> shift) * s_q0.z, decode(p_q0.w >> shift) * s_q0.w);
        add(&sums_q0, v, w_q0);
        // }
      }
    }
  }
  // unroll q TILE_Q {
  if (n0 + 4u * 0u /*q*/ < params.end_row) {
    let y_q0 = (params.y_first + n_q0) / 4u;
    var add_q0 = vec4<f32>();
    if (params.first_col4 == 0u) { add_q0 = bias4(params.bias, n_q0); }
    if (params.first_col4 > 0u) {
      // unroll r TILE_T {
      sums_q0.of_r0 += y[min(params.first_token + 0u /*r*/, last_t) * (params.y_stride / 4u) + y_q0];
      // }
    }
    // unroll r TILE_T {
    if (params.first_token + 0u /*r*/ < params.tokens) {
      y[(params.first_token + 0u /*r*/) * (params.y_stride / 4u) + y_q0] = sums_q0.of_r0 + add_q0;
    }
    // }
  }
  // }
}
