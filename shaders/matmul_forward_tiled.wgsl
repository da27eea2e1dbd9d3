// y[t, n] (+)= alpha * sum_k x[t, k] * w[n, k], w in float32 (LoRA) or bfloat16 (the head).
//
// The variant for GPUs: tiles in workgroup memory as in matmul_nf4_forward_tiled. K may be cut into parts of SUM columns, each
// summed by workgroups of its own into its own y: few tokens and rows alone would not fill a GPU. Numerics: float32 sums over SUM columns, added to y or to the sum of those before.

const TX: u32 = 8u;    // invocations along the rows of w
const TY: u32 = 8u;    // and along the tokens
const LANES: u32 = 64u; // TX·TY
const ROWS4: u32 = 1u; // vec4 of tokens an invocation owns
const COLS4: u32 = 1u; // vec4 of outputs an invocation owns
const XR: u32 = 8u;    // TY·ROWS4
const WR: u32 = 8u;    // TX·COLS4
const XB: u32 = 2u;    // vec4 of x that an invocation brings in a step, of 16·XR
const WB: u32 = 1u;    // 4×4 blocks of w that an invocation brings, of 4·WR
const STEP: u32 = 16u; // columns of a step, whose products stand one after another in the code
const SUM: u32 = 1073741824u; // columns of a sum, a multiple of 16; by default all
const BF16: u32 = 0u;  // 1: w holds bfloat16

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  first_token: u32, // of the bound piece of x
  padded16: u32,   // K / 16, rounded up
  rows: u32,       // rows of w in this shard
  cols4: u32,      // K / 4
  y_stride: u32,   // N, all shards, padded to a multiple of 4
  y_first: u32,    // first row of this shard
  row_tiles: u32,
  accumulate: u32, // 1: y +=
  first_col4: u32, // columns / 4 from which parts are taken, a multiple of 4
  end_col4: u32,   // and one past the last
  part4: u32,      // columns / 4 of a part
  part_tiles: u32, // workgroups of a part
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>; // [tokens / 64, 16·padded16, 16]
@group(0) @binding(2) var<storage, read_write> w: array<vec2<u32>>; // [rows, K]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [parts, tokens, y_stride / 4]

var<workgroup> xs: array<array<vec4<f32>, XR>, 16>; // [k][4 tokens each]
var<workgroup> ws: array<array<vec4<f32>, WR>, 16>; // [k][4 rows of w each]

// Where ws has its first rows of w at columns 4·k4 to 4·k4+3 of a step.
fn swizzle(k4: u32) -> u32 { return (2u * k4) & (WR - 1u); }

// Four values of w from element 4·i; bfloat16 has the lower index in the low half.
fn weights(i: u32) -> vec4<f32> {
  if (BF16 == 1u) {
    let v = w[i];
    return bitcast<vec4<f32>>(vec4<u32>(v.x << 16u, v.x & 0xffff0000u, v.y << 16u, v.y & 0xffff0000u));
  }
  return bitcast<vec4<f32>>(vec4<u32>(w[2u * i], w[2u * i + 1u]));
}

fn rows4(n: u32, k: u32, end: u32) -> vec4<f32> {
  if (n >= params.rows || k >= end) { return vec4<f32>(); }
  return weights(n * params.cols4 + k);
}

// Adds to four outputs of a token or writes them; those beyond the last row are padding.
fn store(part: u32, t: u32, n: u32, v: vec4<f32>, add: bool) {
  if (t >= params.tokens || n >= params.rows) { return; }
  let at = ((part * params.tokens + t) * params.y_stride + params.y_first + n) / 4u;
  var sum = params.alpha * v;
  if (add) { sum += y[at]; }
  y[at] = sum;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let part = group / params.part_tiles;
  let tile = group % params.part_tiles;
  let begin = params.first_col4 + part * params.part4;
  let end = min(begin + params.part4, params.end_col4);
  let token_tile = tile / params.row_tiles;
  let n0 = (tile % params.row_tiles) * 4u * WR;
  let tx = lane % TX;
  let ty = lane / TX;
  let k_lane = lane % 4u; // which 4 columns of a step the invocation brings of w
  // unroll a ROWS4 {
  let t_a0 = params.first_token + (token_tile * XR + ty + 0u /*a*/ * TY) * 4u;
  // }
  // unroll b COLS4 {
  let n_b0 = n0 + (tx + 0u /*b*/ * TX) * 4u;
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
  let k_i0 = (lane + 0u /*i*/ * LANES) / XR; // which column of a step
  let m_i0 = (lane + 0u /*i*/ * LANES) % XR; // and which 4 tokens of it
  let q_i0 = token_tile * XR + m_i0;
  let x_i0 = (q_i0 / 16u * 16u * params.padded16 + k_i0) * 16u + q_i0 % 16u;
  // }
  // unroll j WB {
  let o_j0 = (lane + 0u /*j*/ * LANES) / 4u; // which 4 rows of w
  let n_j0 = n0 + 4u * o_j0;
  // }
  for (var k0 = begin; k0 < end; k0 += 4u) {
    // unroll i XB {
    let r_i0 = x[x_i0 + 64u * k0];
    // }
    // unroll j WB {
    let s0_j0 = rows4(n_j0, k0 + k_lane, end);
    let s1_j0 = rows4(n_j0 + 1u, k0 + k_lane, end);
    let s2_j0 = rows4(n_j0 + 2u, k0 + k_lane, end);
    let s3_j0 = rows4(n_j0 + 3u, k0 + k_lane, end);
    // }
    workgroupBarrier();
    // unroll i XB {
    xs[k_i0][m_i0] = r_i0;
    // }
    // unroll j WB {
    if (o_j0 < WR) {
      let to = o_j0 ^ swizzle(k_lane);
      ws[4u * k_lane][to] = vec4<f32>(s0_j0.x, s1_j0.x, s2_j0.x, s3_j0.x);
      ws[4u * k_lane + 1u][to] = vec4<f32>(s0_j0.y, s1_j0.y, s2_j0.y, s3_j0.y);
      ws[4u * k_lane + 2u][to] = vec4<f32>(s0_j0.z, s1_j0.z, s2_j0.z, s3_j0.z);
      ws[4u * k_lane + 3u][to] = vec4<f32>(s0_j0.w, s1_j0.w, s2_j0.w, s3_j0.w);
    }
    // }
    workgroupBarrier();
    // unroll k STEP {
    // unroll a ROWS4 {
    let x_k0_a0 = xs[0u /*k*/][ty + 0u /*a*/ * TY];
    // }
    // unroll b COLS4 {
    let w_k0_b0 = ws[0u /*k*/][(tx + 0u /*b*/ * TX) ^ swizzle(0u /*k*/ / 4u)];
    // }
    // unroll a ROWS4 {
    // unroll b COLS4 {
    acc0_a0_b0 += x_k0_a0.x * w_k0_b0;
    acc1_a0_b0 += x_k0_a0.y * w_k0_b0;
    acc2_a0_b0 += x_k0_a0.z * w_k0_b0;
    acc3_a0_b0 += x_k0_a0.w * w_k0_b0;
    // }
    // }
    // }
    if ((k0 + 4u - begin) % (SUM / 4u) == 0u || k0 + 4u >= end) {
      let add = params.accumulate == 1u || k0 >= begin + SUM / 4u;
      // unroll a ROWS4 {
      // unroll b COLS4 {
      store(part, t_a0, n_b0, acc0_a0_b0, add);
      store(part, t_a0 + 1u, n_b0, acc1_a0_b0, add);
      store(part, t_a0 + 2u, n_b0, acc2_a0_b0, add);
      store(part, t_a0 + 3u, n_b0, acc3_a0_b0, add);
      acc0_a0_b0 = vec4<f32>();
      acc1_a0_b0 = vec4<f32>();
      acc2_a0_b0 = vec4<f32>();
      acc3_a0_b0 = vec4<f32>();
      // }
      // }
    }
  }
}
