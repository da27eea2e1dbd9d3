// dx[t, k] (+)= alpha * sum_n dy[t, n] * w[n, k], w in float32 (LoRA) or bfloat16 (the head).
//
// The variant for GPUs: tiles in workgroup memory as in matmul_nf4_backward_tiled. The rows may be cut into parts of SUM, each summed by workgroups of its own into
// its own dx: few tokens and columns alone would not fill a GPU. Numerics: float32 sums over SUM rows, added to dx or to the sum of those before: over a vocabulary of
// 50,000 rows one running sum would lose three bits, and cutting w at multiples of 256 rows gives the same bytes.

const TX: u32 = 8u;    // invocations along the columns of W
const TY: u32 = 8u;    // and along the tokens
const LANES: u32 = 64u; // TX·TY
const ROWS4: u32 = 1u; // vec4 of tokens an invocation owns
const COLS4: u32 = 1u; // vec4 of columns an invocation owns
const XR: u32 = 8u;    // TY·ROWS4
const WR: u32 = 8u;    // TX·COLS4
const XB: u32 = 2u;    // vec4 of dy that an invocation brings in a step, of 16·XR
const WB: u32 = 2u;    // vec4 of w that an invocation brings, of 16·WR
const STEP: u32 = 16u; // rows of a step, whose products stand one after another in the code
const SUM: u32 = 256u; // rows of a sum
const BF16: u32 = 0u;  // 1: w holds bfloat16

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  first_token: u32, // of the bound piece of dy
  padded16: u32,    // N / 16 of all shards, rounded up
  rows: u32,       // rows of w in this shard, a multiple of 4
  cols4: u32,      // K / 4
  dy_first: u32,    // first row of this shard
  col_tiles: u32,
  accumulate: u32, // 1: dx +=
  part4: u32,      // rows / 4 of a part
  part_tiles: u32, // workgroups of a part
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<vec4<f32>>; // [tokens / 64, 16·padded16, 16]
@group(0) @binding(2) var<storage, read_write> w: array<vec2<u32>>;  // [rows, K]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [parts, tokens, cols4]

var<workgroup> xs: array<array<vec4<f32>, XR>, 16>; // [n][4 tokens each]
var<workgroup> ws: array<array<vec4<f32>, WR>, 16>; // [n][4 columns each]

// Four values of w from element 4·i; bfloat16 has the lower index in the low half.
fn weights(i: u32) -> vec4<f32> {
  if (BF16 == 1u) {
    let v = w[i];
    return bitcast<vec4<f32>>(vec4<u32>(v.x << 16u, v.x & 0xffff0000u, v.y << 16u, v.y & 0xffff0000u));
  }
  return bitcast<vec4<f32>>(vec4<u32>(w[2u * i], w[2u * i + 1u]));
}

fn columns4(n: u32, k4: u32, end: u32) -> vec4<f32> {
  if (n >= end || k4 >= params.cols4) { return vec4<f32>(); }
  return weights(n * params.cols4 + k4);
}

// Adds to four columns of a token where they exist, or writes them.
fn store(part: u32, t: u32, k4: u32, v: vec4<f32>, add: bool) {
  if (t >= params.tokens || k4 >= params.cols4) { return; }
  let at = (part * params.tokens + t) * params.cols4 + k4;
  var sum = params.alpha * v;
  if (add) { sum += dx[at]; }
  dx[at] = sum;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let part = group / params.part_tiles;
  let tile = group % params.part_tiles;
  let begin = part * params.part4 * 4u;
  let end = min(begin + params.part4 * 4u, params.rows);
  let token_tile = tile / params.col_tiles;
  let k0 = (tile % params.col_tiles) * WR; // in vec4
  let tx = lane % TX;
  let ty = lane / TX;
  // unroll a ROWS4 {
  let t_a0 = params.first_token + (token_tile * XR + ty + 0u /*a*/ * TY) * 4u;
  // }
  // unroll b COLS4 {
  let k_b0 = k0 + tx + 0u /*b*/ * TX;
  // }
  // unroll a ROWS4 {
  // unroll b COLS4 {
  var acc0_a0_b0 = vec4<f32>();
  var acc1_a0_b0 = vec4<f32>();
  var acc2_a0_b0 = vec4<f32>();
  var acc3_a0_b0 = vec4<f32>();
  // }
  // }
  // unroll i XB {
  let r_i0 = (lane + 0u /*i*/ * LANES) / XR; // which row of a step
  let m_i0 = (lane + 0u /*i*/ * LANES) % XR; // and which 4 tokens of it
  let q_i0 = token_tile * XR + m_i0;
  let dy_i0 = (q_i0 / 16u * 16u * params.padded16 + params.dy_first + r_i0) * 16u + q_i0 % 16u;
  // }
  // unroll j WB {
  let o_j0 = (lane + 0u /*j*/ * LANES) % WR; // which 4 columns
  let n_j0 = (lane + 0u /*j*/ * LANES) / WR; // of which row of a step
  // }
  for (var n0 = begin; n0 < end; n0 += 16u) {
    // unroll i XB {
    let d_i0 = dy[dy_i0 + 16u * n0];
    // }
    // unroll j WB {
    let v_j0 = columns4(n0 + n_j0, k0 + o_j0, end);
    // }
    workgroupBarrier();
    // unroll i XB {
    xs[r_i0][m_i0] = d_i0;
    // }
    // unroll j WB {
    ws[n_j0][o_j0] = v_j0;
    // }
    workgroupBarrier();
    // unroll n STEP {
    // unroll a ROWS4 {
    let x_n0_a0 = xs[0u /*n*/][ty + 0u /*a*/ * TY];
    // }
    // unroll b COLS4 {
    let w_n0_b0 = ws[0u /*n*/][tx + 0u /*b*/ * TX];
    // }
    // unroll a ROWS4 {
    // unroll b COLS4 {
    acc0_a0_b0 += x_n0_a0.x * w_n0_b0;
    acc1_a0_b0 += x_n0_a0.y * w_n0_b0;
    acc2_a0_b0 += x_n0_a0.z * w_n0_b0;
    acc3_a0_b0 += x_n0_a0.w * w_n0_b0;
    // }
    // }
    // }
    let next = n0 + 16u;
    if (next % SUM == 0u || next >= end) {
      let add = params.accumulate == 1u || n0 >= begin + SUM;
      // unroll a ROWS4 {
      // unroll b COLS4 {
      store(part, t_a0, k_b0, acc0_a0_b0, add);
      store(part, t_a0 + 1u, k_b0, acc1_a0_b0, add);
      store(part, t_a0 + 2u, k_b0, acc2_a0_b0, add);
      store(part, t_a0 + 3u, k_b0, acc3_a0_b0, add);
      acc0_a0_b0 = vec4<f32>();
      acc1_a0_b0 = vec4<f32>();
      acc2_a0_b0 = vec4<f32>();
      acc3_a0_b0 = vec4<f32>();
      // }
      // }
    }
  }
}
