// y[t, n] = sum_k x[t, k] * W[n, k] (+ bias[n]), W frozen in NF4 with double quantization (QLoRA, arXiv 2305.14314, equations 5 and 6).
//
// The variant for CPU devices whose storage loads are slow: x comes from a uniform array, which every invocation reads for the price of one load. One dispatch takes a
// chunk of at most 512 columns of 32 tokens (64 KiB, see pack_chunks_forward) and adds to y unless it is the first.
// A workgroup owns TILE_T tokens × 32·TILE_Q rows of W, an invocation TILE_T × 4·TILE_Q sums in named registers.
// Numerics: float32 products and sums in the order of k within a chunk, then of the chunks; a weight is codebook[code] * absmax, as bitsandbytes dequantizes it.
// 0.516 bytes a weight and 2·T flops; x is read rows/(32·TILE_Q) times.

const TILE_T: u32 = 1u;
const TILE_Q: u32 = 1u; // groups of 4 rows of W

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows: u32,        // rows of W in this shard, a multiple of 4
  cols4: u32,       // K / 4
  y_stride: u32,    // N, all shards
  y_first: u32,     // first row of this shard
  packed: u32,      // word offsets in region
  codes: u32,
  nested: u32,
  bias: u32,        // 0xffffffff: none
  offset: f32,      // of the double quantization
  first_block: u32, // the shard's first absmax within its first block of 256
  block_shift: u32, // log2(block size)
  first_token: u32, // of the window
  first_col4: u32,  // of the chunk
  end_col4: u32,
  // Columns / 4 of a row that share one absmax: 16 or 8, or 2 where rows are no multiple of that. Not a constant: compilers of CPU
  // devices would unroll the loop over it and take a minute.
  span4: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> region: array<u32>;            // nested map [256], then what the offsets name
@group(0) @binding(2) var<uniform> x: array<vec4<f32>, 4096>;           // [32, 128], the window of the chunk
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;     // [tokens, y_stride / 4]

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
  let n0 = (group * 8u + lane) * 4u * TILE_Q;
  let last_t = params.tokens - 1u;
  // unroll q TILE_Q {
  let n_q0 = min(n0 + 4u * 0u /*q*/, params.rows - 4u);
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
    for (var k = span; k < span + params.span4; k++) {
      let shift = (k & 1u) * 16u;
      // unroll r TILE_T {
      let v_r0 = x[128u * 0u /*r*/ + k - params.first_col4];
      // }
      // unroll q TILE_Q {
      let w0_q0 = decode(region[params.packed + ((row0_q0 + k) >> 1u)] >> shift) * s0_q0;
      let w1_q0 = decode(region[params.packed + ((row1_q0 + k) >> 1u)] >> shift) * s1_q0;
      let w2_q0 = decode(region[params.packed + ((row2_q0 + k) >> 1u)] >> shift) * s2_q0;
      let w3_q0 = decode(region[params.packed + ((row3_q0 + k) >> 1u)] >> shift) * s3_q0;
      // unroll r TILE_T {
      acc_r0_q0 += vec4<f32>(dot(v_r0, w0_q0), dot(v_r0, w1_q0), dot(v_r0, w2_q0), dot(v_r0, w3_q0));
      // }
      // }
    }
  }
  // unroll q TILE_Q {
  if (n0 + 4u * 0u /*q*/ < params.rows) {
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
