// What the device's memory can do at most: y = x, by float32 or by vec4.
//
// An invocation owns one element of the width. 8 bytes a float32.

import package::entry::{group_of};

const VECTOR: u32 = 1u; // 1: a vec4 an invocation, 0: a float32

struct Params {
  group_base: u32,
  group_end: u32,
  count: u32, // elements of the width
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 64u + lane;
  if (i >= params.count) { return; }
  if (VECTOR == 1u) {
    y[i] = x[i];
  } else {
    y[i / 4u][i % 4u] = x[i / 4u][i % 4u];
  }
}
