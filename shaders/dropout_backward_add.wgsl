// dx += dy * mask / (1-p), elementwise, with the mask of dropout_forward; element i is kept when the upper 24 bits of
// pcg(pcg(i ^ pcg(key0)) ^ key1) are at least the threshold ceil(p * 2^24).
//
// A workgroup owns 256 vec4, an invocation one. The mask depends on nothing but the index and the key: forward and
// backward make the same one. 12 bytes and about 25 integer operations per element.

import package::entry::{group_of};
import package::dropout::{params, mask};

@group(0) @binding(1) var<storage, read_write> dy: array<vec4<f32>>; // [count4]
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>; // [count4]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 256u + lane;
  if (i < params.count4) { dx[i] += dy[i] * mask(i); }
}
