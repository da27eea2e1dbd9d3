// dw[n, k] += alpha * sum_t dy[t, n] * x[t, k], the gradient of a LoRA matrix, of which one side is narrow (the rank).
//
// The variant for CPU devices whose storage loads are slow: both operands come from uniform arrays. One dispatch takes
// 128 tokens and a chunk of at most 512 columns of the wide operand in four windows (see pack_chunks_forward). A
// workgroup owns 32 wide columns × 16 narrow ones of these tokens, an invocation 4 × 16. Numerics: float32 in the order
// of t within a dispatch, then of the dispatches. 5 vec4 loads for 128 flops.

import package::entry::{group_of};

const NARROW_ROWS: u32 = 1u; // 1: dw is [narrow, wide] (dA), 0: [wide, narrow] (dB)

struct Params {
  group_base: u32,
  group_end: u32,
  count0: u32, // tokens in each window
  count1: u32,
  count2: u32,
  count3: u32,
  wide4: u32,        // columns / 4 of the wide operand
  narrow4: u32,      // of the narrow one
  first_wide4: u32,  // of the chunk
  end_wide4: u32,
  narrow_first4: u32, // where the first token's row begins in the window of narrow
  wide_tiles: u32,
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> wide0: array<vec4<f32>, 4096>;    // [32, 128] each
@group(0) @binding(2) var<uniform> wide1: array<vec4<f32>, 4096>;
@group(0) @binding(3) var<uniform> wide2: array<vec4<f32>, 4096>;
@group(0) @binding(4) var<uniform> wide3: array<vec4<f32>, 4096>;
@group(0) @binding(5) var<uniform> narrow: array<vec4<f32>, 4096>;   // [128, narrow4]
@group(0) @binding(6) var<storage, read_write> dw: array<vec4<f32>>; // [N, K / 4]

struct Sums {
  a: mat4x4<f32>, // narrow columns 0 to 3, each a vec4 of wide columns
  b: mat4x4<f32>,
  c: mat4x4<f32>,
  d: mat4x4<f32>,
}

fn outer(narrow_values: vec4<f32>, wide_values: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(narrow_values.x * wide_values, narrow_values.y * wide_values,
                     narrow_values.z * wide_values, narrow_values.w * wide_values);
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let tile = group % params.wide_tiles;
  let column = min(tile * 8u + lane, params.end_wide4 - params.first_wide4 - 1u);
  let q = (group / params.wide_tiles) * 4u;
  let last = params.narrow4 - 1u;
  let q0 = min(q, last);
  let q1 = min(q + 1u, last);
  let q2 = min(q + 2u, last);
  let q3 = min(q + 3u, last);
  var s = Sums();
  for (var t = 0u; t < params.count0; t++) {
    let v = wide0[t * 128u + column];
    let at = params.narrow_first4 + t * params.narrow4;
    s.a += outer(narrow[at + q0], v);
    s.b += outer(narrow[at + q1], v);
    s.c += outer(narrow[at + q2], v);
    s.d += outer(narrow[at + q3], v);
  }
  for (var t = 0u; t < params.count1; t++) {
    let v = wide1[t * 128u + column];
    let at = params.narrow_first4 + (t + 32u) * params.narrow4;
    s.a += outer(narrow[at + q0], v);
    s.b += outer(narrow[at + q1], v);
    s.c += outer(narrow[at + q2], v);
    s.d += outer(narrow[at + q3], v);
  }
  for (var t = 0u; t < params.count2; t++) {
    let v = wide2[t * 128u + column];
    let at = params.narrow_first4 + (t + 64u) * params.narrow4;
    s.a += outer(narrow[at + q0], v);
    s.b += outer(narrow[at + q1], v);
    s.c += outer(narrow[at + q2], v);
    s.d += outer(narrow[at + q3], v);
  }
  for (var t = 0u; t < params.count3; t++) {
    let v = wide3[t * 128u + column];
    let at = params.narrow_first4 + (t + 96u) * params.narrow4;
    s.a += outer(narrow[at + q0], v);
    s.b += outer(narrow[at + q1], v);
    s.c += outer(narrow[at + q2], v);
    s.d += outer(narrow[at + q3], v);
  }
  if (tile * 8u + lane >= params.end_wide4 - params.first_wide4) { return; }
  let wide = params.first_wide4 + column;
  if (q < params.narrow4) { add(wide, q, s.a); }
  if (q + 1u < params.narrow4) { add(wide, q + 1u, s.b); }
  if (q + 2u < params.narrow4) { add(wide, q + 2u, s.c); }
  if (q + 3u < params.narrow4) { add(wide, q + 3u, s.d); }
}

// add puts the sums of 4 wide × 4 narrow columns into dw.
fn add(wide: u32, narrow_vector: u32, sums: mat4x4<f32>) {
  var m = sums;
  var at = narrow_vector * 4u * params.wide4 + wide;
  var stride = params.wide4;
  if (NARROW_ROWS == 0u) {
    m = transpose(m);
    at = wide * 4u * params.narrow4 + narrow_vector;
    stride = params.narrow4;
  }
  dw[at] += params.alpha * m[0];
  dw[at + stride] += params.alpha * m[1];
  dw[at + 2u * stride] += params.alpha * m[2];
  dw[at + 3u * stride] += params.alpha * m[3];
}
