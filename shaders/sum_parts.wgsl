// out[i] (+)= sum_p parts[p, i], the sums that workgroups took of parts of a product. Numerics: float32, one part after
// another, so as one workgroup would have added them.

import package::entry::{group_of};

struct Params {
  group_base: u32,
  group_end: u32,
  count4: u32,     // elements / 4
  parts: u32,
  accumulate: u32, // 1: out +=
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> parts: array<vec4<f32>>; // [parts, count4]
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;   // [count4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 64u + lane;
  if (i >= params.count4) { return; }
  var sum = parts[i];
  if (params.accumulate == 1u) { sum += out[i]; }
  for (var p = 1u; p < params.parts; p++) { sum += parts[p * params.count4 + i]; }
  out[i] = sum;
}
