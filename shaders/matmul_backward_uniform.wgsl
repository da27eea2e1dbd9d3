// dx[t, k] (+)= alpha * sum_n dy[t, n] * w[n, k], w in float32 (LoRA) or bfloat16 (the head).
//
// The variant for CPU devices whose storage loads are slow: dy comes from a uniform array, a dispatch takes at most 512 rows of w and 32 tokens
// (see matmul_nf4_backward_uniform). A workgroup owns these × 32·TILE_K columns, an invocation TILE_T × TILE_K vec4 of sums in named registers, its columns 32 apart.
// Numerics: as in matmul_backward_registers, so that cutting w or dy at multiples of 256 rows gives the same bytes.
// 4 (2) bytes a weight and 2·T flops; dy is read K/(32·TILE_K) times.

const TILE_T: u32 = 1u;
const TILE_K: u32 = 1u; // vec4 of columns
const QUAD: u32 = 4u;   // rows of w for one vec4 of dy
const PART: u32 = 256u; // rows of w in a partial sum
const BF16: u32 = 0u;   // 1: w holds bfloat16

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows: u32,       // rows of w in this shard, a multiple of 4
  cols4: u32,      // K / 4
  first_row: u32,  // rows of this shard that the chunk covers
  end_row: u32,
  window_first: u32, // column of dy in the window that belongs to first_row
  first_token: u32, // of the window
  accumulate: u32, // 1: dx +=
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> dy: array<vec4<f32>, 4096>;       // [32, 128], the window of the chunk
@group(0) @binding(2) var<storage, read_write> w: array<vec2<u32>>;  // [rows, K]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [tokens, cols4]

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
  let k0 = group * 8u * TILE_K + lane;
  let last_t = params.tokens - 1u;
  // unroll c TILE_K {
  let k_c0 = min(k0 + 8u * 0u /*c*/, params.cols4 - 1u);
  // }
  // unroll r TILE_T {
  // unroll c TILE_K {
  var sum_r0_c0 = vec4<f32>();
  // }
  // }
  if (params.accumulate == 1u) {
    // unroll r TILE_T {
    // unroll c TILE_K {
    sum_r0_c0 = dx[min(params.first_token + 0u /*r*/, last_t) * params.cols4 + k_c0];
    // }
    // }
  }
  for (var part = params.first_row; part < params.end_row; part += PART) {
    // unroll r TILE_T {
    // unroll c TILE_K {
    var acc_r0_c0 = vec4<f32>();
    // }
    // }
    let end = min(part + PART, params.end_row);
    for (var n = part; n < end; n += QUAD) {
      let column = (params.window_first + n - params.first_row) / QUAD;
      // unroll r TILE_T {
      let v_r0 = dy[128u * 0u /*r*/ + column];
      // }
      // unroll j QUAD {
      // unroll c TILE_K {
      let w_j0_c0 = weights((n + 0u /*j*/) * params.cols4 + k_c0);
      // unroll r TILE_T {
      acc_r0_c0 += v_r0[0u /*j*/] * w_j0_c0;
      // }
      // }
      // }
    }
    // unroll r TILE_T {
    // unroll c TILE_K {
    sum_r0_c0 += params.alpha * acc_r0_c0;
    // }
    // }
  }
  // unroll c TILE_K {
  if (k0 + 8u * 0u /*c*/ < params.cols4) {
    // unroll r TILE_T {
    if (params.first_token + 0u /*r*/ < params.tokens) {
      dx[(params.first_token + 0u /*r*/) * params.cols4 + k_c0] = sum_r0_c0;
    }
    // }
  }
  // }
}
