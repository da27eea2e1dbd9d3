// dw[n, k] += alpha * sum_t dy[t, n] * x[t, k], the gradient of a LoRA matrix: the variant for GPUs.
//
// A workgroup of TX × TY invocations, each with 4 × 4 elements, owns 4·TY rows × 4·TX columns of dw and walks the
// tokens in steps of 16, both operands in workgroup memory as they lie. The tokens may be cut into parts of SUM, each
// summed by workgroups of its own into its own dw: a rank alone does not fill a GPU. Numerics: float32 sums over SUM
// tokens, added to dw or to the sum of those before, so that cutting the tokens at multiples of 256 gives the same
// bytes.

import package::entry::{group_of};

const TX: u32 = 16u;    // invocations along the columns
const TY: u32 = 4u;     // and along the rows
const LANES: u32 = 64u; // TX·TY
const XB: u32 = 1u;     // vec4 of dy that an invocation brings, of 16·TY
const WB: u32 = 4u;     // vec4 of x that an invocation brings, of 16·TX
const STEP: u32 = 16u;  // tokens of a step, whose products stand one after another in the code
const SUM: u32 = 256u;  // tokens of a sum, a multiple of 16

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows4: u32,       // N / 4
  cols4: u32,       // K / 4
  col_tiles: u32,
  accumulate: u32,  // 1: dw +=
  first_token: u32, // from which parts are taken
  part: u32,        // tokens of a part
  part_tiles: u32,  // workgroups of a part
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<vec4<f32>>; // [tokens, rows4]
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>;  // [tokens, cols4]
@group(0) @binding(3) var<storage, read_write> dw: array<vec4<f32>>; // [parts, N, cols4]

var<workgroup> ds: array<array<vec4<f32>, TY>, 16>; // [t][4 rows each]
var<workgroup> xs: array<array<vec4<f32>, TX>, 16>; // [t][4 columns each]

fn gradients4(t: u32, n4: u32, end: u32) -> vec4<f32> {
  if (t >= end || n4 >= params.rows4) { return vec4<f32>(); }
  return dy[t * params.rows4 + n4];
}

fn columns4(t: u32, k4: u32, end: u32) -> vec4<f32> {
  if (t >= end || k4 >= params.cols4) { return vec4<f32>(); }
  return x[t * params.cols4 + k4];
}

// Adds to four columns of a row where they exist, or writes them.
fn store(part: u32, n: u32, k4: u32, v: vec4<f32>, add: bool) {
  if (n >= params.rows4 * 4u || k4 >= params.cols4) { return; }
  let at = (part * params.rows4 * 4u + n) * params.cols4 + k4;
  var sum = params.alpha * v;
  if (add) { sum += dw[at]; }
  dw[at] = sum;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let part = group / params.part_tiles;
  let tile = group % params.part_tiles;
  let begin = params.first_token + part * params.part;
  let end = min(begin + params.part, params.tokens);
  let n4 = (tile / params.col_tiles) * TY;
  let k4 = (tile % params.col_tiles) * TX;
  let tx = lane % TX;
  let ty = lane / TX;
  var acc0 = vec4<f32>();
  var acc1 = vec4<f32>();
  var acc2 = vec4<f32>();
  var acc3 = vec4<f32>();
  // unroll i XB {
  let d_at_i0 = lane + 0u /*i*/ * LANES;
  // }
  // unroll j WB {
  let x_at_j0 = lane + 0u /*j*/ * LANES;
  // }
  for (var t0 = begin; t0 < end; t0 += 16u) {
    // unroll i XB {
    let d_i0 = gradients4(t0 + d_at_i0 / TY, n4 + d_at_i0 % TY, end);
    // }
    // unroll j WB {
    let x_j0 = columns4(t0 + x_at_j0 / TX, k4 + x_at_j0 % TX, end);
    // }
    workgroupBarrier();
    // unroll i XB {
    if (d_at_i0 < 16u * TY) { ds[d_at_i0 / TY][d_at_i0 % TY] = d_i0; }
    // }
    // unroll j WB {
    if (x_at_j0 < 16u * TX) { xs[x_at_j0 / TX][x_at_j0 % TX] = x_j0; }
    // }
    workgroupBarrier();
    // unroll t STEP {
    let d_t0 = ds[0u /*t*/][ty];
    let v_t0 = xs[0u /*t*/][tx];
    acc0 += d_t0.x * v_t0;
    acc1 += d_t0.y * v_t0;
    acc2 += d_t0.z * v_t0;
    acc3 += d_t0.w * v_t0;
    // }
    let next = t0 + 16u;
    if ((next - begin) % SUM == 0u || next >= end) {
      let add = params.accumulate == 1u || t0 >= begin + SUM;
      let n = (n4 + ty) * 4u;
      store(part, n, k4 + tx, acc0, add);
      store(part, n + 1u, k4 + tx, acc1, add);
      store(part, n + 2u, k4 + tx, acc2, add);
      store(part, n + 3u, k4 + tx, acc3, add);
      acc0 = vec4<f32>();
      acc1 = vec4<f32>();
      acc2 = vec4<f32>();
      acc3 = vec4<f32>();
    }
  }
}
