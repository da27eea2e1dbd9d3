// y[t, n] = sum_k x[t, k] * W[n, k] (+ bias[n]), W frozen in NF4 with double quantization (QLoRA, arXiv 2305.14314, equations 5 and 6), for a few tokens.
//
// The variant for generation on GPUs, bound by the bandwidth of the weights. A workgroup owns TILE_T tokens × 8 rows of W, each half of its 64 invocations 4 rows.
// The 32 invocations of a half read neighbouring words of a row, each the words lane, lane + 32, …, and add their sums up in workgroup memory.
// Numerics: float32; a word's 8 products are added before they are scaled by their absmax; an invocation's words in the order of k, then the invocations' sums
// by halves. 0.516 bytes a weight and 2·T flops.

const TILE_T: u32 = 1u;

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
  row_tiles: u32,
  span4: u32,       // columns / 4 of a row that share one absmax: at least a word's
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> region: array<u32>;        // nested map [256], codebook [16], then what the offsets name
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>; // [tokens, cols4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [tokens, y_stride / 4]

var<workgroup> codebook: array<f32, 16>;
var<workgroup> sums: array<vec4<f32>, (64u * TILE_T)>; // [TILE_T][invocations], of 4 rows each

// absmax of block b of this shard
fn scale(b: u32) -> f32 {
  let code = (region[params.codes + (b >> 2u)] >> ((b & 3u) * 8u)) & 255u;
  let nested = bitcast<f32>(region[params.nested + ((params.first_block + b) >> 8u)]);
  return bitcast<f32>(region[code]) * nested + params.offset;
}

// Four codes of the low half of a word: the first element of a byte is its high nibble.
fn decode(half: u32) -> vec4<f32> {
  return vec4<f32>(codebook[(half >> 4u) & 15u], codebook[half & 15u], codebook[(half >> 12u) & 15u], codebook[(half >> 8u) & 15u]);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let t0 = (group / params.row_tiles) * TILE_T;
  let n0 = ((group % params.row_tiles) * 2u + lane / 32u) * 4u;
  let words = params.cols4 / 2u;
  let last_t = params.tokens - 1u;
  if (lane < 16u) { codebook[lane] = bitcast<f32>(region[256u + lane]); }
  workgroupBarrier();
  // unroll r TILE_T {
  let x_r0 = min(t0 + 0u /*r*/, last_t) * params.cols4;
  var acc_r0 = vec4<f32>();
  // }
  let row0 = min(n0, params.rows - 4u) * words;
  let row1 = row0 + words;
  let row2 = row1 + words;
  let row3 = row2 + words;
  for (var k = lane % 32u; k < words; k += 32u) {
    let p0 = region[params.packed + row0 + k];
    let p1 = region[params.packed + row1 + k];
    let p2 = region[params.packed + row2 + k];
    let p3 = region[params.packed + row3 + k];
    let s = vec4<f32>(scale(((row0 + k) * 8u) >> params.block_shift), scale(((row1 + k) * 8u) >> params.block_shift),
                      scale(((row2 + k) * 8u) >> params.block_shift), scale(((row3 + k) * 8u) >> params.block_shift));
    let a0 = decode(p0);
    let a1 = decode(p1);
    let a2 = decode(p2);
    let a3 = decode(p3);
    let b0 = decode(p0 >> 16u);
    let b1 = decode(p1 >> 16u);
    let b2 = decode(p2 >> 16u);
    let b3 = decode(p3 >> 16u);
    // unroll r TILE_T {
    let u_r0 = x[x_r0 + 2u * k];
    let v_r0 = x[x_r0 + 2u * k + 1u];
    acc_r0 += s * vec4<f32>(dot(u_r0, a0) + dot(v_r0, b0), dot(u_r0, a1) + dot(v_r0, b1), dot(u_r0, a2) + dot(v_r0, b2), dot(u_r0, a3) + dot(v_r0, b3));
    // }
  }
  // unroll r TILE_T {
  sums[64u * 0u /*r*/ + lane] = acc_r0;
  // }
  for (var half = 16u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane % 32u < half) {
      // unroll r TILE_T {
      sums[64u * 0u /*r*/ + lane] += sums[64u * 0u /*r*/ + lane + half];
      // }
    }
  }
  if (lane % 32u == 0u && n0 < params.rows) {
    var bias = vec4<f32>();
    if (params.bias != 0xffffffffu) {
      let at = params.bias + n0;
      bias = bitcast<vec4<f32>>(vec4<u32>(region[at], region[at + 1u], region[at + 2u], region[at + 3u]));
    }
    // Tokens beyond the last were computed from the last one's x: they store its values once more.
    // unroll r TILE_T {
    y[min(t0 + 0u /*r*/, last_t) * (params.y_stride / 4u) + (params.y_first + n0) / 4u] = sums[64u * 0u /*r*/ + lane] + bias;
    // }
  }
}
