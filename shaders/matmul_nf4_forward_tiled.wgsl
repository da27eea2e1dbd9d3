// y[t, n] = sum_k x[t, k] * W[n, k] (+ bias[n]), W frozen in NF4 with double quantization: the variant for GPUs.
//
// A workgroup of 8×8 invocations owns 32·ROWS4 tokens × 32·COLS4 rows of W and walks K in steps of 16. Each step brings both operands into workgroup memory,
// k-major as vec4 (rows padded by one vec4 against bank conflicts): every invocation transposes 4×4 blocks, decoding W through a table in workgroup
// memory, then multiplies its 4·ROWS4 × 4·COLS4 outputs from registers: ROWS4+COLS4 loads serve 16·ROWS4·COLS4 products.
// Numerics: float32 sums in the order of k. 9 KiB of workgroup memory at the largest tile.

const ROWS4: u32 = 1u; // vec4 of tokens an invocation owns
const COLS4: u32 = 1u; // vec4 of outputs an invocation owns
const BK: u32 = 16u;
const XS: u32 = 9u;    // 8·ROWS4 + 1
const WS: u32 = 9u;    // 8·COLS4 + 1

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows: u32,        // rows of W in this shard
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
  span4: u32,       // columns / 4 of a row that share one absmax (used by the registers variant)
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> region: array<u32>;        // nested map [256], codebook [16], then what the offsets name
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>; // [tokens, cols4]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;       // [tokens, y_stride]

var<workgroup> xs: array<vec4<f32>, (16u * XS)>; // [BK][4 tokens each]
var<workgroup> ws: array<vec4<f32>, (16u * WS)>; // [BK][4 rows of W each]
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

// Writes four outputs of a token, those that exist.
fn store(t: u32, n: u32, v: vec4<f32>) {
  if (t >= params.tokens) { return; }
  for (var i = 0u; i < min(4u, max(params.rows, n) - n); i++) {
    var b = 0.0;
    if (params.bias != 0xffffffffu) { b = bitcast<f32>(region[params.bias + n + i]); }
    y[t * params.y_stride + params.y_first + n + i] = v[i] + b;
  }
}

// Four codes of W from column 4·k of a row, times their absmax; zero beyond the matrix.
fn weights(n: u32, k: u32) -> vec4<f32> {
  if (n >= params.rows || k >= params.cols4) { return vec4<f32>(); }
  let at = n * params.cols4 + k;
  return decode(region[params.packed + (at >> 1u)] >> ((k & 1u) * 16u)) * scale((at * 4u) >> params.block_shift);
}

fn tokens4(t: u32, k: u32) -> vec4<f32> {
  if (t >= params.tokens || k >= params.cols4) { return vec4<f32>(); }
  return x[t * params.cols4 + k];
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let t0 = (group / params.row_tiles) * 32u * ROWS4;
  let n0 = (group % params.row_tiles) * 32u * COLS4;
  let tx = lane % 8u;
  let ty = lane / 8u;
  if (lane < 16u) { codebook[lane] = bitcast<f32>(region[256u + lane]); }
  // unroll a ROWS4 {
  // unroll b COLS4 {
  var acc0_a0_b0 = vec4<f32>();
  var acc1_a0_b0 = vec4<f32>();
  var acc2_a0_b0 = vec4<f32>();
  var acc3_a0_b0 = vec4<f32>();
  // }
  // }
  for (var k0 = 0u; k0 < params.cols4; k0 += BK / 4u) {
    workgroupBarrier();
    for (var block = lane; block < 32u * ROWS4; block += 64u) {
      let m = block / 4u; // which 4 tokens
      let k = block % 4u; // which 4 columns
      let r0 = tokens4(t0 + 4u * m, k0 + k);
      let r1 = tokens4(t0 + 4u * m + 1u, k0 + k);
      let r2 = tokens4(t0 + 4u * m + 2u, k0 + k);
      let r3 = tokens4(t0 + 4u * m + 3u, k0 + k);
      let to = 4u * k * XS + m;
      xs[to] = vec4<f32>(r0.x, r1.x, r2.x, r3.x);
      xs[to + XS] = vec4<f32>(r0.y, r1.y, r2.y, r3.y);
      xs[to + 2u * XS] = vec4<f32>(r0.z, r1.z, r2.z, r3.z);
      xs[to + 3u * XS] = vec4<f32>(r0.w, r1.w, r2.w, r3.w);
    }
    for (var block = lane; block < 32u * COLS4; block += 64u) {
      let m = block / 4u; // which 4 rows of W
      let k = block % 4u;
      let r0 = weights(n0 + 4u * m, k0 + k);
      let r1 = weights(n0 + 4u * m + 1u, k0 + k);
      let r2 = weights(n0 + 4u * m + 2u, k0 + k);
      let r3 = weights(n0 + 4u * m + 3u, k0 + k);
      let to = 4u * k * WS + m;
      ws[to] = vec4<f32>(r0.x, r1.x, r2.x, r3.x);
      ws[to + WS] = vec4<f32>(r0.y, r1.y, r2.y, r3.y);
      ws[to + 2u * WS] = vec4<f32>(r0.z, r1.z, r2.z, r3.z);
      ws[to + 3u * WS] = vec4<f32>(r0.w, r1.w, r2.w, r3.w);
    }
    workgroupBarrier();
    for (var k = 0u; k < BK; k++) {
      // unroll a ROWS4 {
      let x_a0 = xs[k * XS + ty * ROWS4 + 0u /*a*/];
      // }
      // unroll b COLS4 {
      let w_b0 = ws[k * WS + tx * COLS4 + 0u /*b*/];
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
  let n_a0_b0 = n0 + (tx * COLS4 + 0u /*b*/) * 4u;
  let t_a0_b0 = t0 + (ty * ROWS4 + 0u /*a*/) * 4u;
  store(t_a0_b0, n_a0_b0, acc0_a0_b0);
  store(t_a0_b0 + 1u, n_a0_b0, acc1_a0_b0);
  store(t_a0_b0 + 2u, n_a0_b0, acc2_a0_b0);
  store(t_a0_b0 + 3u, n_a0_b0, acc3_a0_b0);
  // }
  // }
}
