// y[t, n] (+)= alpha * sum_k x[t, k] * w[n, k], w in float32 (LoRA) or bfloat16 (the head).
//
// A workgroup owns TILE_T tokens × 8·TILE_N rows of w, an invocation TILE_T × TILE_N sums in named registers, its rows 8 apart; no barrier
// (see matmul_nf4_forward_registers). Numerics: float32 in the order of k.
// 4 (2) bytes a weight and 2·T flops; x is read rows/(8·TILE_N) times.

const TILE_T: u32 = 1u;
const TILE_N: u32 = 1u;
const BF16: u32 = 0u; // 1: w holds bfloat16

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows: u32,       // rows of w in this shard
  cols4: u32,      // K / 4
  y_stride: u32,   // N, all shards
  y_first: u32,    // first row of this shard
  row_tiles: u32,
  accumulate: u32, // 1: y +=
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>; // [tokens, cols4]
@group(0) @binding(2) var<storage, read_write> w: array<vec2<u32>>; // [rows, K]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;       // [tokens, y_stride]

// Four values of w from element 4·i; bfloat16 has the lower index in the low half.
fn weights(i: u32) -> vec4<f32> {
  if (BF16 == 1u) {
    let v = w[i];
    return bitcast<vec4<f32>>(vec4<u32>(v.x << 16u, v.x & 0xffff0000u, v.y << 16u, v.y & 0xffff0000u));
  }
  return bitcast<vec4<f32>>(vec4<u32>(w[2u * i], w[2u * i + 1u]));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let t0 = (group / params.row_tiles) * TILE_T;
  let n0 = (group % params.row_tiles) * 8u * TILE_N + lane;
  // unroll r TILE_T {
  let x_r0 = min(t0 + 0u /*r*/, params.tokens - 1u) * params.cols4;
  // }
  // unroll c TILE_N {
  let row_c0 = min(n0 + 8u * 0u /*c*/, params.rows - 1u) * params.cols4;
  // }
  // unroll r TILE_T {
  // unroll c TILE_N {
  var acc_r0_c0 = 0.0;
  // }
  // }
  for (var k = 0u; k < params.cols4; k++) {
    // unroll r TILE_T {
    let v_r0 = x[x_r0 + k];
    // }
    // unroll c TILE_N {
    let w_c0 = weights(row_c0 + k);
    // unroll r TILE_T {
    acc_r0_c0 += dot(v_r0, w_c0);
    // }
    // }
  }
  // unroll c TILE_N {
  let n_c0 = n0 + 8u * 0u /*c*/;
  if (n_c0 < params.rows) {
    // unroll r TILE_T {
    if (t0 + 0u /*r*/ < params.tokens) {
      let at = (t0 + 0u /*r*/) * params.y_stride + params.y_first + n_c0;
      var v = params.alpha * acc_r0_c0;
      if (params.accumulate == 1u) { v += y[at]; }
      y[at] = v;
    }
    // }
  }
  // }
}
