// y[t, n] (+)= alpha * sum_k x[t, k] * w[n, k], w in float32 (LoRA) or bfloat16 (the head), for a few tokens.
//
// The variant for generation on GPUs: a workgroup owns TILE_T tokens × 8 rows of w, the 32 invocations of a half read neighbouring columns
// (see matmul_nf4_forward_vector). Numerics: float32; an invocation's columns in the order of k, then the invocations' sums by halves.
// 4 (2) bytes a weight and 2·T flops.
// Where the rows are no multiple of 4 (a vocabulary), y has room for the next multiple, and what is written there repeats the last row.

const TILE_T: u32 = 1u;
const BF16: u32 = 0u; // 1: w holds bfloat16

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows: u32,       // rows of w in this shard
  cols4: u32,      // K / 4
  y_stride: u32,   // columns of y, a multiple of 4
  y_first: u32,    // first row of this shard
  row_tiles: u32,
  accumulate: u32, // 1: y +=
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>; // [tokens, cols4]
@group(0) @binding(2) var<storage, read_write> w: array<vec2<u32>>; // [rows, K]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [tokens, y_stride / 4]

var<workgroup> sums: array<vec4<f32>, (64u * TILE_T)>; // [TILE_T][invocations], of 4 rows each

// Four values of w from element 4·i; bfloat16 has the lower index in the low half.
fn weights(i: u32) -> vec4<f32> {
  if (BF16 == 1u) {
    let v = w[i];
    return bitcast<vec4<f32>>(vec4<u32>(v.x << 16u, v.x & 0xffff0000u, v.y << 16u, v.y & 0xffff0000u));
  }
  return bitcast<vec4<f32>>(vec4<u32>(w[2u * i], w[2u * i + 1u]));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let t0 = (group / params.row_tiles) * TILE_T;
  let n0 = ((group % params.row_tiles) * 2u + lane / 32u) * 4u;
  let last_t = params.tokens - 1u;
  let last_n = params.rows - 1u;
  // unroll r TILE_T {
  let x_r0 = min(t0 + 0u /*r*/, last_t) * params.cols4;
  var acc_r0 = vec4<f32>();
  // }
  let row0 = min(n0, last_n) * params.cols4;
  let row1 = min(n0 + 1u, last_n) * params.cols4;
  let row2 = min(n0 + 2u, last_n) * params.cols4;
  let row3 = min(n0 + 3u, last_n) * params.cols4;
  for (var k = lane % 32u; k < params.cols4; k += 32u) {
    let w0 = weights(row0 + k);
    let w1 = weights(row1 + k);
    let w2 = weights(row2 + k);
    let w3 = weights(row3 + k);
    // unroll r TILE_T {
    let v_r0 = x[x_r0 + k];
    acc_r0 += vec4<f32>(dot(v_r0, w0), dot(v_r0, w1), dot(v_r0, w2), dot(v_r0, w3));
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
    // Tokens beyond the last were computed from the last one's x; only those that exist are added to and stored.
    // unroll r TILE_T {
    if (t0 + 0u /*r*/ < params.tokens) {
      let at = ((t0 + 0u /*r*/) * params.y_stride + params.y_first + n0) / 4u;
      var sum = params.alpha * sums[64u * 0u /*r*/ + lane];
      if (params.accumulate == 1u) { sum += y[at]; }
      y[at] = sum;
    }
    // }
  }
}
