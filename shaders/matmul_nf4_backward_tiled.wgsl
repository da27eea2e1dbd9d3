// dx[t, k] (+)= sum_n dy[t, n] * W[n, k], the gradient through the frozen NF4 weight, read from the same packed layout as the forward pass.
//
// The variant for GPUs. A workgroup of 8×8 invocations owns 32·ROWS4 tokens × 32·COLS4 columns and walks the rows of W in steps of 16: dy is transposed
// into workgroup memory in 4×4 blocks, W is decoded word by word (a word is 8 neighbouring columns, so it needs no transposing).
// Numerics: float32 sums in the order of n, from dx on when accumulating. 9 KiB of workgroup memory at the largest tile.

const ROWS4: u32 = 1u; // vec4 of tokens an invocation owns
const COLS4: u32 = 1u; // vec4 of columns an invocation owns
const BN: u32 = 16u;
const XS: u32 = 9u;    // 8·ROWS4 + 1
const WS: u32 = 9u;    // 8·COLS4 + 1

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
@group(0) @binding(1) var<storage, read> region: array<u32>;         // nested map [256], codebook [16], then what the offsets name
@group(0) @binding(2) var<storage, read_write> dy: array<vec4<f32>>; // [tokens, dy_stride4]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [tokens, 2·words]

var<workgroup> xs: array<vec4<f32>, (16u * XS)>; // [BN][4 tokens each]
var<workgroup> ws: array<vec4<f32>, (16u * WS)>; // [BN][4 columns each]
var<workgroup> codebook: array<f32, 16>;

// absmax of block b of this shard
fn scale(b: u32) -> f32 {
  let code = (region[params.codes + (b >> 2u)] >> ((b & 3u) * 8u)) & 255u;
  let nested = bitcast<f32>(region[params.nested + ((params.first_block + b) >> 8u)]);
  return bitcast<f32>(region[code]) * nested + params.offset;
}

fn decode(half: u32) -> vec4<f32> {
  return vec4<f32>(codebook[(half >> 4u) & 15u], codebook[half & 15u], codebook[(half >> 12u) & 15u], codebook[(half >> 8u) & 15u]);
}

fn tokens4(t: u32, n4: u32) -> vec4<f32> {
  if (t >= params.tokens || n4 * 4u >= params.rows) { return vec4<f32>(); }
  return dy[t * params.dy_stride4 + params.dy_first4 + n4];
}

// dx where it is added to, for a token and four columns that exist.
fn start(t: u32, k4: u32) -> vec4<f32> {
  if (params.accumulate == 0u || t >= params.tokens || k4 >= params.words * 2u) { return vec4<f32>(); }
  return dx[t * params.words * 2u + k4];
}

// Writes four columns of a token where they exist.
fn store(t: u32, k4: u32, v: vec4<f32>) {
  if (t >= params.tokens || k4 >= params.words * 2u) { return; }
  dx[t * params.words * 2u + k4] = v;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let t0 = (group / params.col_tiles) * 32u * ROWS4;
  let k0 = (group % params.col_tiles) * 8u * COLS4; // in vec4
  let tx = lane % 8u;
  let ty = lane / 8u;
  if (lane < 16u) { codebook[lane] = bitcast<f32>(region[256u + lane]); }
  // unroll a ROWS4 {
  // unroll b COLS4 {
  let k_a0_b0 = k0 + tx * COLS4 + 0u /*b*/;
  let t_a0_b0 = t0 + (ty * ROWS4 + 0u /*a*/) * 4u;
  var acc0_a0_b0 = start(t_a0_b0, k_a0_b0);
  var acc1_a0_b0 = start(t_a0_b0 + 1u, k_a0_b0);
  var acc2_a0_b0 = start(t_a0_b0 + 2u, k_a0_b0);
  var acc3_a0_b0 = start(t_a0_b0 + 3u, k_a0_b0);
  // }
  // }
  for (var n0 = 0u; n0 < params.rows; n0 += BN) {
    workgroupBarrier();
    for (var block = lane; block < 32u * ROWS4; block += 64u) {
      let m = block / 4u; // which 4 tokens
      let n = block % 4u; // which 4 rows of W
      let r0 = tokens4(t0 + 4u * m, n0 / 4u + n);
      let r1 = tokens4(t0 + 4u * m + 1u, n0 / 4u + n);
      let r2 = tokens4(t0 + 4u * m + 2u, n0 / 4u + n);
      let r3 = tokens4(t0 + 4u * m + 3u, n0 / 4u + n);
      let to = 4u * n * XS + m;
      xs[to] = vec4<f32>(r0.x, r1.x, r2.x, r3.x);
      xs[to + XS] = vec4<f32>(r0.y, r1.y, r2.y, r3.y);
      xs[to + 2u * XS] = vec4<f32>(r0.z, r1.z, r2.z, r3.z);
      xs[to + 3u * XS] = vec4<f32>(r0.w, r1.w, r2.w, r3.w);
    }
    for (var block = lane; block < BN * 4u * COLS4; block += 64u) {
      let n = block / (4u * COLS4);
      let word = block % (4u * COLS4);
      var lo = vec4<f32>();
      var hi = vec4<f32>();
      if (n0 + n < params.rows && k0 / 2u + word < params.words) {
        let at = (n0 + n) * params.words + k0 / 2u + word;
        let codes = region[params.packed + at];
        let s = scale((at * 8u) >> params.block_shift);
        lo = decode(codes) * s;
        hi = decode(codes >> 16u) * s;
      }
      ws[n * WS + 2u * word] = lo;
      ws[n * WS + 2u * word + 1u] = hi;
    }
    workgroupBarrier();
    for (var n = 0u; n < BN; n++) {
      // unroll a ROWS4 {
      let x_a0 = xs[n * XS + ty * ROWS4 + 0u /*a*/];
      // }
      // unroll b COLS4 {
      let w_b0 = ws[n * WS + tx * COLS4 + 0u /*b*/];
      // }
      // unroll a ROWS4 {
      // unroll b COLS4 {
      acc0_a0_b0 += x_a0.x * w_b0;
      acc1_a0_b0 += x_a0.y * w_b0;
      acc2_a0_b0 += x_a0.z * w_b0;
      acc3_a0_b0 += x_a0.w * w_b0;
      // }
      // }
    }
  }
  // unroll a ROWS4 {
  // unroll b COLS4 {
  store(t_a0_b0, k_a0_b0, acc0_a0_b0);
  store(t_a0_b0 + 1u, k_a0_b0, acc1_a0_b0);
  store(t_a0_b0 + 2u, k_a0_b0, acc2_a0_b0);
  store(t_a0_b0 + 3u, k_a0_b0, acc3_a0_b0);
  // }
  // }
}
