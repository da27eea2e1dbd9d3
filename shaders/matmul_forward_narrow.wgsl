// y[t, n] (+)= alpha * sum_k x[t, k] * w[n, k] for a w of few rows: LoRA's x Aᵀ.
//
// The variant for CPU devices whose storage loads are slow: x and w come from uniform arrays. One dispatch takes a
// chunk of at most 512 columns of 32 tokens and of 32 rows of w (see pack_chunks_forward) and adds to y unless the
// chunk is the first. A workgroup owns these tokens × 4 rows, an invocation 4 tokens × 4 rows. Numerics: float32 in the
// order of k within a chunk, then of the chunks. 8 vec4 loads for 128 flops.

import package::entry::{group_of};

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  y_stride4: u32,
  y_first4: u32,    // column of y that belongs to the window's first row, over 4
  first_token: u32, // of the window
  count4: u32,      // columns / 4 of the chunk
  accumulate: u32,  // 1: y +=
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> x: array<vec4<f32>, 4096>;       // [32, 128], a window of tokens
@group(0) @binding(2) var<uniform> w: array<vec4<f32>, 4096>;       // [32, 128], a window of rows
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [tokens, y_stride4]

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let x0 = lane * 512u;
  let w0 = group * 512u;
  var acc0 = vec4<f32>();
  var acc1 = vec4<f32>();
  var acc2 = vec4<f32>();
  var acc3 = vec4<f32>();
  for (var k = 0u; k < params.count4; k++) {
    let a = w[w0 + k];
    let b = w[w0 + 128u + k];
    let c = w[w0 + 256u + k];
    let d = w[w0 + 384u + k];
    let v0 = x[x0 + k];
    let v1 = x[x0 + 128u + k];
    let v2 = x[x0 + 256u + k];
    let v3 = x[x0 + 384u + k];
    acc0 += vec4<f32>(dot(v0, a), dot(v0, b), dot(v0, c), dot(v0, d));
    acc1 += vec4<f32>(dot(v1, a), dot(v1, b), dot(v1, c), dot(v1, d));
    acc2 += vec4<f32>(dot(v2, a), dot(v2, b), dot(v2, c), dot(v2, d));
    acc3 += vec4<f32>(dot(v3, a), dot(v3, b), dot(v3, c), dot(v3, d));
  }
  let t = params.first_token + lane * 4u;
  let at = params.y_first4 + group;
  if (t < params.tokens) { store(t * params.y_stride4 + at, acc0); }
  if (t + 1u < params.tokens) { store((t + 1u) * params.y_stride4 + at, acc1); }
  if (t + 2u < params.tokens) { store((t + 2u) * params.y_stride4 + at, acc2); }
  if (t + 3u < params.tokens) { store((t + 3u) * params.y_stride4 + at, acc3); }
}

fn store(at: u32, sum: vec4<f32>) {
  var v = params.alpha * sum;
  if (params.accumulate == 1u) { v += y[at]; }
  y[at] = v;
}
