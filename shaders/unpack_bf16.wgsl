// y = x, widened from bf16 to f32: a kept activation as the kernels of the backward read it.
//
// A workgroup owns 256 groups of 4 columns, an invocation one.
// bf16 is the upper half of an f32, so widening is exact; it is done on the bits, to every one of them (see
// pack_bf16.wgsl). 6 bytes per element.

import package::entry::{group_of};
import package::bfloat16::{widen};
import package::elements::{params};

// [count4] four bf16 each, lower columns in low halves
@group(0) @binding(1) var<storage, read_write> x: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>; // [count4] f32 bits

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 256u + lane;
  if (i < params.count4) { y[i] = widen(x[i]); }
}
