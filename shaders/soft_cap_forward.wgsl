// In place: x <- cap·tanh(x/cap), elementwise.
//
// A workgroup owns 256 vec4, an invocation one. 8 bytes and about 25 flops per element.

import package::entry::{group_of};
import package::scaled_elements::{params};
import package::tanh::{tanh4};

@group(0) @binding(1) var<storage, read_write> logits: array<vec4<f32>>; // [count4]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 256u + lane;
  if (i < params.count4) { logits[i] = params.scale * tanh4(logits[i] / params.scale); }
}
