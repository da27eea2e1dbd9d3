// dx[t, k] (+)= sum_n dy[t, n] * W[n, k], the gradient through the frozen NF4 weight, read from the same packed layout as the forward pass.
//
// A workgroup owns TILE_T tokens × 64·TILE_W columns, an invocation TILE_T × 8·TILE_W sums in named registers: TILE_W words of a
// row share one absmax. No barrier and no shared memory (see matmul_nf4_forward_registers).
// Numerics: float32, in the order of n, from dx on when accumulating: cutting W by rows gives the same bytes. 0.516 bytes a weight and 2·T flops; dy is read K/(64·TILE_W) times.

const TILE_T: u32 = 1u;
const TILE_W: u32 = 1u; // words of 8 columns; 8·TILE_W columns lie in one block
const QUAD: u32 = 4u;   // rows of W for one vec4 of dy

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows: u32,        // rows of W in this shard, a multiple of 4
  words: u32,       // K / 8
  dy_stride4: u32,  // N / 4, all shards
  dy_first4: u32,   // first row of this shard / 4
  packed: u32,      // word offsets in region
  codes: u32,
  nested: u32,
  offset: f32,      // of the double quantization
  first_block: u32, // the shard's first absmax within its first block of 256
  block_shift: u32, // log2(block size)
  col_tiles: u32,
  accumulate: u32,  // 1: dx +=
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> region: array<u32>;         // nested map [256], then what the offsets name
@group(0) @binding(2) var<storage, read_write> dy: array<vec4<f32>>; // [tokens, dy_stride4]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [tokens, 2·words]

// absmax of block b of this shard
fn scale(b: u32) -> f32 {
  let code = (region[params.codes + (b >> 2u)] >> ((b & 3u) * 8u)) & 255u;
  let nested = bitcast<f32>(region[params.nested + ((params.first_block + b) >> 8u)]);
  return bitcast<f32>(region[code]) * nested + params.offset;
}

fn pick(a: u32, b: u32, mask: vec4<u32>) -> vec4<u32> {
  return vec4<u32>(a) ^ (vec4<u32>(a ^ b) & mask);
}

fn mix4(a: vec4<u32>, b: vec4<u32>, mask: vec4<u32>) -> vec4<u32> {
  return a ^ ((a ^ b) & mask);
}

// Four codes of the low half of a word: the first element of a byte is its high nibble. Four levels of selection on the bits of the codebook.
fn decode(half: u32) -> vec4<f32> {
  let s = vec4<u32>(half) << vec4<u32>(24u, 28u, 16u, 20u);
  let m0 = vec4<u32>(vec4<i32>(s << vec4<u32>(3u)) >> vec4<u32>(31u));
  let m1 = vec4<u32>(vec4<i32>(s << vec4<u32>(2u)) >> vec4<u32>(31u));
  let m2 = vec4<u32>(vec4<i32>(s << vec4<u32>(1u)) >> vec4<u32>(31u));
  let m3 = vec4<u32>(vec4<i32>(s) >> vec4<u32>(31u));
  let q0 = mix4(pick(0xbf800000u, 0xbf3239b1u, m0), pick(0xbf066b30u, 0xbeca32a0u, m0), m1);
  let q1 = mix4(pick(0xbe91a24du, 0xbe3d353fu, m0), pick(0xbdba7871u, 0x00000000u, m0), m1);
  let q2 = mix4(pick(0x3da2faffu, 0x3e24cae3u, m0), pick(0x3e7c04ddu, 0x3ead033au, m0), m1);
  let q3 = mix4(pick(0x3ee1a4b8u, 0x3f1007abu, m0), pick(0x3f3913b3u, 0x3f800000u, m0), m1);
  return bitcast<vec4<f32>>(mix4(mix4(q0, q1, m2), mix4(q2, q3, m2), m3));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let t0 = (group / params.col_tiles) * TILE_T;
  let word0 = ((group % params.col_tiles) * 8u + lane) * TILE_W;
  let last_t = params.tokens - 1u;
  // unroll r TILE_T {
  let dy_r0 = min(t0 + 0u /*r*/, last_t) * params.dy_stride4 + params.dy_first4;
  // }
  // unroll w TILE_W {
  let word_w0 = min(word0 + 0u /*w*/, params.words - 1u);
  // }
  // unroll r TILE_T {
  // unroll w TILE_W {
  var lo_r0_w0 = vec4<f32>();
  var hi_r0_w0 = vec4<f32>();
  // }
  // }
  // Tokens beyond the last are computed from the last one's dy: they load and store its values once more.
  // unroll r TILE_T {
  let at_r0 = (min(t0 + 0u /*r*/, last_t) * params.words + word0) * 2u;
  // }
  if (params.accumulate == 1u) {
    // unroll w TILE_W {
    if (word0 + 0u /*w*/ < params.words) {
      // unroll r TILE_T {
      lo_r0_w0 = dx[at_r0 + 2u * 0u /*w*/];
      hi_r0_w0 = dx[at_r0 + 2u * 0u /*w*/ + 1u];
      // }
    }
    // }
  }
  for (var n = 0u; n < params.rows; n += QUAD) {
    // unroll r TILE_T {
    let v_r0 = dy[dy_r0 + n / QUAD];
    // }
    // unroll j QUAD {
    let row_j0 = (n + 0u /*j*/) * params.words;
    let s_j0 = scale(((row_j0 + min(word0, params.words - 1u)) * 8u) >> params.block_shift);
    // unroll w TILE_W {
    let codes_j0_w0 = region[params.packed + row_j0 + word_w0];
    let a_j0_w0 = decode(codes_j0_w0) * s_j0;
    let b_j0_w0 = decode(codes_j0_w0 >> 16u) * s_j0;
    // unroll r TILE_T {
    lo_r0_w0 += v_r0[0u /*j*/] * a_j0_w0;
    hi_r0_w0 += v_r0[0u /*j*/] * b_j0_w0;
    // }
    // }
    // }
  }
  // unroll w TILE_W {
  if (word0 + 0u /*w*/ < params.words) {
    // unroll r TILE_T {
    dx[at_r0 + 2u * 0u /*w*/] = lo_r0_w0;
    dx[at_r0 + 2u * 0u /*w*/ + 1u] = hi_r0_w0;
    // }
  }
  // }
}
