// dx[t, k] (+)= alpha * sum_n dy[t, n] * w[n, k] for a w of few columns: LoRA's dy B.
//
// The variant for CPU devices whose storage loads are slow: dy and w come from uniform arrays. One dispatch takes some
// rows of w, at most 512 and as many as lie in one window, and 32 tokens (see pack_chunks_forward). A workgroup owns
// these tokens × 4 columns, an invocation 4 tokens × 4 columns. Numerics: float32 in the order of n, alpha applied to
// each dispatch's sum. 8 vec4 loads for 128 flops.

import package::entry::{group_of};

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  cols4: u32,
  count: u32,        // rows of w, a multiple of 4
  window_first: u32, // column of dy in its window that belongs to the first of them
  w_first4: u32,     // where that row begins in the window of w
  first_token: u32,  // of the window of dy
  accumulate: u32,   // 1: dx +=
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> dy: array<vec4<f32>, 4096>;       // [32, 128], a window of tokens
@group(0) @binding(2) var<uniform> w: array<vec4<f32>, 4096>;        // a window of w [N, cols4]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [tokens, cols4]

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let t0 = lane * 512u + params.window_first / 4u;
  var acc0 = vec4<f32>();
  var acc1 = vec4<f32>();
  var acc2 = vec4<f32>();
  var acc3 = vec4<f32>();
  for (var n = 0u; n < params.count; n += 4u) {
    let at = params.w_first4 + n * params.cols4 + group;
    let a = w[at];
    let b = w[at + params.cols4];
    let c = w[at + 2u * params.cols4];
    let d = w[at + 3u * params.cols4];
    let v0 = dy[t0 + n / 4u];
    let v1 = dy[t0 + 128u + n / 4u];
    let v2 = dy[t0 + 256u + n / 4u];
    let v3 = dy[t0 + 384u + n / 4u];
    acc0 += v0.x * a + v0.y * b + v0.z * c + v0.w * d;
    acc1 += v1.x * a + v1.y * b + v1.z * c + v1.w * d;
    acc2 += v2.x * a + v2.y * b + v2.z * c + v2.w * d;
    acc3 += v3.x * a + v3.y * b + v3.z * c + v3.w * d;
  }
  let t = params.first_token + lane * 4u;
  if (t < params.tokens) { store(t * params.cols4 + group, acc0); }
  if (t + 1u < params.tokens) { store((t + 1u) * params.cols4 + group, acc1); }
  if (t + 2u < params.tokens) { store((t + 2u) * params.cols4 + group, acc2); }
  if (t + 3u < params.tokens) { store((t + 3u) * params.cols4 + group, acc3); }
}

fn store(at: u32, sum: vec4<f32>) {
  var v = params.alpha * sum;
  if (params.accumulate == 1u) { v += dx[at]; }
  dx[at] = v;
}
