// y[t, n] (+)= alpha * sum_k x[t, k] * w[n, k], w in float32 (LoRA) or bfloat16 (the head).
//
// The variant for CPU devices whose storage loads are slow: x comes from a uniform array, a dispatch takes a chunk of at most 512 columns of 32 tokens
// (see matmul_nf4_forward_uniform). A workgroup owns TILE_T tokens × 32·TILE_Q rows of w, an invocation TILE_T × 4·TILE_Q sums in named registers.
// Numerics: float32 in the order of k within a chunk, then of the chunks.
// 4 (2) bytes a weight and 2·T flops; x is read rows/(32·TILE_Q) times.
// Where the rows are no multiple of 4 (a vocabulary), y has room for the next multiple, and what is written there repeats the last row.

const TILE_T: u32 = 1u;
const TILE_Q: u32 = 1u; // groups of 4 rows of w
const BF16: u32 = 0u; // 1: w holds bfloat16

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows: u32,       // rows of w in this shard
  cols4: u32,      // K / 4
  y_stride: u32,   // columns of y, a multiple of 4
  y_first: u32,    // first row of this shard
  first_token: u32, // of the window
  first_col4: u32, // of the chunk
  end_col4: u32,
  accumulate: u32, // 1: y +=
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> x: array<vec4<f32>, 4096>;       // [32, 128], the window of the chunk
@group(0) @binding(2) var<storage, read_write> w: array<vec2<u32>>; // [rows, K]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [tokens, y_stride / 4]

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
  let n0 = (group * 8u + lane) * 4u * TILE_Q;
  let last_t = params.tokens - 1u;
  let last_n = params.rows - 1u;
  // unroll q TILE_Q {
  let n_q0 = n0 + 4u * 0u /*q*/;
  let row0_q0 = min(n_q0, last_n) * params.cols4;
  let row1_q0 = min(n_q0 + 1u, last_n) * params.cols4;
  let row2_q0 = min(n_q0 + 2u, last_n) * params.cols4;
  let row3_q0 = min(n_q0 + 3u, last_n) * params.cols4;
  // unroll r TILE_T {
  var acc_r0_q0 = vec4<f32>();
  // }
  // }
  for (var k = params.first_col4; k < params.end_col4; k++) {
    // unroll r TILE_T {
    let v_r0 = x[128u * 0u /*r*/ + k - params.first_col4];
    // }
    // unroll q TILE_Q {
    let w0_q0 = weights(row0_q0 + k);
    let w1_q0 = weights(row1_q0 + k);
    let w2_q0 = weights(row2_q0 + k);
    let w3_q0 = weights(row3_q0 + k);
    // unroll r TILE_T {
    acc_r0_q0 += vec4<f32>(dot(v_r0, w0_q0), dot(v_r0, w1_q0), dot(v_r0, w2_q0), dot(v_r0, w3_q0));
    // }
    // }
  }
  // unroll q TILE_Q {
  if (n_q0 < params.rows) {
    let y_q0 = (params.y_first + n_q0) / 4u;
    // unroll r TILE_T {
    acc_r0_q0 *= params.alpha;
    // }
    if (params.accumulate == 1u) {
      // unroll r TILE_T {
      acc_r0_q0 += y[min(params.first_token + 0u /*r*/, last_t) * (params.y_stride / 4u) + y_q0];
      // }
    }
    // unroll r TILE_T {
    if (params.first_token + 0u /*r*/ < params.tokens) {
      y[(params.first_token + 0u /*r*/) * (params.y_stride / 4u) + y_q0] = acc_r0_q0;
    }
    // }
  }
  // }
}
