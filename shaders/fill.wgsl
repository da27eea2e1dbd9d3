// y = value.
//
// A workgroup owns 1024 elements, an invocation every 256th of them; any number of elements, not only multiples of 4.
// 4 bytes per element.

import package::entry::{group_of};

struct Params {
  group_base: u32,
  group_end: u32,
  count: u32, // elements
  value: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [count]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let end = min(group * 1024u + 1024u, params.count);
  for (var i = group * 1024u + lane; i < end; i += 256u) {
    y[i] = params.value;
  }
}
