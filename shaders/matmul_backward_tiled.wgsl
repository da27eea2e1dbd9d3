// dx[t, k] (+)= alpha * sum_n dy[t, n] * w[n, k], w in float32 (LoRA) or bfloat16 (the head).
//
// The variant for GPUs: tiles in workgroup memory as in matmul_nf4_backward_tiled. Numerics: float32 sums
// over 256 rows, added to a sum that starts from dx when accumulating: over a vocabulary of 50,000 rows one running sum would lose three bits, and
// cutting w at multiples of 256 rows gives the same bytes.

const ROWS4: u32 = 1u; // vec4 of tokens an invocation owns
const COLS4: u32 = 1u; // vec4 of columns an invocation owns
const BN: u32 = 16u;
const PART: u32 = 256u; // rows of w in a partial sum
const XS: u32 = 9u;    // 8·ROWS4 + 1
const WS: u32 = 9u;    // 8·COLS4 + 1
const BF16: u32 = 0u;   // 1: w holds bfloat16

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows: u32,       // rows of w in this shard, a multiple of 4
  cols4: u32,      // K / 4
  dy_stride4: u32, // N / 4, all shards
  dy_first4: u32,  // first row of this shard / 4
  col_tiles: u32,
  accumulate: u32, // 1: dx +=
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<vec4<f32>>; // [tokens, dy_stride4]
@group(0) @binding(2) var<storage, read_write> w: array<vec2<u32>>;  // [rows, K]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [tokens, cols4]

var<workgroup> xs: array<vec4<f32>, (16u * XS)>; // [BN][4 tokens each]
var<workgroup> ws: array<vec4<f32>, (16u * WS)>; // [BN][4 columns each]

// Four values of w from element 4·i; bfloat16 has the lower index in the low half.
fn weights(i: u32) -> vec4<f32> {
  if (BF16 == 1u) {
    let v = w[i];
    return bitcast<vec4<f32>>(vec4<u32>(v.x << 16u, v.x & 0xffff0000u, v.y << 16u, v.y & 0xffff0000u));
  }
  return bitcast<vec4<f32>>(vec4<u32>(w[2u * i], w[2u * i + 1u]));
}

fn tokens4(t: u32, n4: u32) -> vec4<f32> {
  if (t >= params.tokens || n4 * 4u >= params.rows) { return vec4<f32>(); }
  return dy[t * params.dy_stride4 + params.dy_first4 + n4];
}

// dx where it is added to, for a token and four columns that exist.
fn start(t: u32, k4: u32) -> vec4<f32> {
  if (params.accumulate == 0u || t >= params.tokens || k4 >= params.cols4) { return vec4<f32>(); }
  return dx[t * params.cols4 + k4];
}

// Writes four columns of a token where they exist.
fn store(t: u32, k4: u32, v: vec4<f32>) {
  if (t >= params.tokens || k4 >= params.cols4) { return; }
  dx[t * params.cols4 + k4] = v;
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
  // unroll a ROWS4 {
  // unroll b COLS4 {
  let k_a0_b0 = k0 + tx * COLS4 + 0u /*b*/;
  let t_a0_b0 = t0 + (ty * ROWS4 + 0u /*a*/) * 4u;
  var acc0_a0_b0 = vec4<f32>();
  var acc1_a0_b0 = vec4<f32>();
  var acc2_a0_b0 = vec4<f32>();
  var acc3_a0_b0 = vec4<f32>();
  var sum0_a0_b0 = start(t_a0_b0, k_a0_b0);
  var sum1_a0_b0 = start(t_a0_b0 + 1u, k_a0_b0);
  var sum2_a0_b0 = start(t_a0_b0 + 2u, k_a0_b0);
  var sum3_a0_b0 = start(t_a0_b0 + 3u, k_a0_b0);
  // }
  // }
  for (var n0 = 0u; n0 < params.rows; n0 += BN) {
    workgroupBarrier();
    for (var block = lane; block < 32u * ROWS4; block += 64u) {
      let m = block / 4u; // which 4 tokens
      let n = block % 4u; // which 4 rows of w
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
    for (var block = lane; block < BN * 8u * COLS4; block += 64u) {
      let n = block / (8u * COLS4);
      let k = block % (8u * COLS4);
      var v = vec4<f32>();
      if (n0 + n < params.rows && k0 + k < params.cols4) { v = weights((n0 + n) * params.cols4 + k0 + k); }
      ws[n * WS + k] = v;
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
    if ((n0 + BN) % PART == 0u || n0 + BN >= params.rows) {
      // unroll a ROWS4 {
      // unroll b COLS4 {
      sum0_a0_b0 += params.alpha * acc0_a0_b0;
      sum1_a0_b0 += params.alpha * acc1_a0_b0;
      sum2_a0_b0 += params.alpha * acc2_a0_b0;
      sum3_a0_b0 += params.alpha * acc3_a0_b0;
      acc0_a0_b0 = vec4<f32>();
      acc1_a0_b0 = vec4<f32>();
      acc2_a0_b0 = vec4<f32>();
      acc3_a0_b0 = vec4<f32>();
      // }
      // }
    }
  }
  // unroll a ROWS4 {
  // unroll b COLS4 {
  store(t_a0_b0, k_a0_b0, sum0_a0_b0);
  store(t_a0_b0 + 1u, k_a0_b0, sum1_a0_b0);
  store(t_a0_b0 + 2u, k_a0_b0, sum2_a0_b0);
  store(t_a0_b0 + 3u, k_a0_b0, sum3_a0_b0);
  // }
  // }
}
