// scaled = scale·x, elementwise; they may not overlap.
//
// A workgroup owns 256 vec4, an invocation one. 8 bytes and 1 flop per element.

import package::entry::{group_of};
import package::scaled_elements::{params};

@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>; // [count4]
@group(0) @binding(2) var<storage, read_write> scaled: array<vec4<f32>>; // [count4]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 256u + lane;
  if (i < params.count4) { scaled[i] = params.scale * x[i]; }
}
