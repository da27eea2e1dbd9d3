// y[t, n] = sum_k x[t, k] * W[n, k] (+ bias[n]), W frozen in NF4 with double quantization (QLoRA, arXiv 2305.14314, equations 5 and 6).
//
// The variant for CPU devices whose storage loads are slow: x, the maps and the scales come from uniform arrays, whose loads cost a twentieth. One dispatch takes a
// chunk of at most 512 columns of 32 tokens (64 KiB, see pack_chunks_forward) and rows whose absmax codes lie in one window; it adds to y unless the chunk is the first.
// A workgroup owns TILE_T tokens × 32·TILE_Q rows of W, an invocation TILE_T × 4·TILE_Q sums in named registers. A word of 8 codes is loaded once.
// Numerics: float32 products and sums in the order of k within a chunk, then of the chunks; a weight is codebook[code] * absmax, as bitsandbytes dequantizes it.
// 0.516 bytes a weight and 2·T flops; x is read rows/(32·TILE_Q) times.

const TILE_T: u32 = 1u;
const TILE_Q: u32 = 1u; // groups of 4 rows of W

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
  first_block: u32, // the shard's first absmax within its first group of 256
  block_shift: u32, // log2(block size)
  first_token: u32, // of the window
  first_col4: u32,  // of the chunk
  end_col4: u32,
  // Columns / 4 of a row that share one absmax: 16 or 8, or 2 where rows are no multiple of that. Not a constant, nor is halves (2): compilers of CPU
  // devices would unroll the loops over them and take a minute.
  span4: u32,
  halves: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> region: array<u32>;
@group(0) @binding(2) var<uniform> maps: array<vec4<f32>, 4096>;        // the region's start: nested map [256], codebook [16]
@group(0) @binding(3) var<uniform> codes: array<vec4<u32>, 4096>;       // a window of the region: absmax codes, a byte each
@group(0) @binding(4) var<uniform> nested: array<vec4<f32>, 4096>;      // a window of the region: nested absmax
@group(0) @binding(5) var<uniform> x: array<vec4<f32>, 4096>;           // [32, 128], the window of the chunk
@group(0) @binding(6) var<storage, read_write> y: array<vec4<f32>>;     // [tokens, y_stride / 4]

// absmax of block b of this shard
fn scale(b: u32) -> f32 {
  let i = params.codes_first + b;
  let code = (codes[i >> 4u][(i >> 2u) & 3u] >> ((i & 3u) * 8u)) & 255u;
  let j = params.nested_first + ((params.first_block + b) >> 8u);
  return maps[code >> 2u][code & 3u] * nested[j >> 2u][j & 3u] + params.offset;
}

fn weight(code: u32) -> f32 {
  return maps[64u + ((code >> 2u) & 3u)][code & 3u];
}

// Four codes of the low half of a word: the first element of a byte is its high nibble.
fn decode(half: u32) -> vec4<f32> {
  return vec4<f32>(weight(half >> 4u), weight(half), weight(half >> 12u), weight(half >> 8u));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let n0 = params.first_row + (group * 8u + lane) * 4u * TILE_Q;
  let last_t = params.tokens - 1u;
  // unroll q TILE_Q {
  let n_q0 = min(n0 + 4u * 0u /*q*/, params.end_row - 4u);
  let row0_q0 = n_q0 * params.cols4;
  let row1_q0 = row0_q0 + params.cols4;
  let row2_q0 = row1_q0 + params.cols4;
  let row3_q0 = row2_q0 + params.cols4;
  // unroll r TILE_T {
  var acc_r0_q0 = vec4<f32>();
  // }
  // }
  for (var span = params.first_col4; span < params.end_col4; span += params.span4) {
    // unroll q TILE_Q {
    let s0_q0 = scale(((row0_q0 + span) * 4u) >> params.block_shift);
    let s1_q0 = scale(((row1_q0 + span) * 4u) >> params.block_shift);
    let s2_q0 = scale(((row2_q0 + span) * 4u) >> params.block_shift);
    let s3_q0 = scale(((row3_q0 + span) * 4u) >> params.block_shift);
    // }
    for (var pair = span; pair < span + params.span4; pair += 2u) {
      // unroll q TILE_Q {
      let p0_q0 = region[params.packed + ((row0_q0 + pair) >> 1u)];
      let p1_q0 = region[params.packed + ((row1_q0 + pair) >> 1u)];
      let p2_q0 = region[params.packed + ((row2_q0 + pair) >> 1u)];
      let p3_q0 = region[params.packed + ((row3_q0 + pair) >> 1u)];
      // }
      for (var half = 0u; half < params.halves; half++) {
        let at = pair + half - params.first_col4;
        let shift = half * 16u;
        // unroll r TILE_T {
        let v_r0 = x[128u * 0u /*r*/ + at];
        // }
        // unroll q TILE_Q {
        let w0_q0 = decode(p0_q0 >> shift) * s0_q0;
        let w1_q0 = decode(p1_q0 >> shift) * s1_q0;
        let w2_q0 = decode(p2_q0 >> shift) * s2_q0;
        let w3_q0 = decode(p3_q0 >> shift) * s3_q0;
        // unroll r TILE_T {
        acc_r0_q0 += vec4<f32>(dot(v_r0, w0_q0), dot(v_r0, w1_q0), dot(v_r0, w2_q0), dot(v_r0, w3_q0));
        // }
        // }
      }
    }
  }
  // unroll q TILE_Q {
  if (n0 + 4u * 0u /*q*/ < params.end_row) {
    let y_q0 = (params.y_first + n_q0) / 4u;
    var add_q0 = vec4<f32>();
    if (params.first_col4 == 0u && params.bias != 0xffffffffu) {
      let at = params.bias + n_q0;
      add_q0 = bitcast<vec4<f32>>(vec4<u32>(region[at], region[at + 1u], region[at + 2u], region[at + 3u]));
    }
    if (params.first_col4 > 0u) {
      // unroll r TILE_T {
      acc_r0_q0 += y[min(params.first_token + 0u /*r*/, last_t) * (params.y_stride / 4u) + y_q0];
      // }
    }
    // unroll r TILE_T {
    if (params.first_token + 0u /*r*/ < params.tokens) {
      y[(params.first_token + 0u /*r*/) * (params.y_stride / 4u) + y_q0] = acc_r0_q0 + add_q0;
    }
    // }
  }
  // }
}
