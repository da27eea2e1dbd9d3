// y = bf16(x): what a kept activation is stored as; two to a word, the lower column in the low half.
//
// A workgroup owns 256 groups of 4 columns, an invocation one.
// Rounds to nearest, ties to even, on the bits: a shader may assume that there is no NaN and no infinity, and flush
// denormals, so no float is touched. What lies beyond the largest bf16 becomes infinite, an infinity stays one, a NaN
// stays one and quiet. 6 bytes per element.

import package::entry::{group_of};
import package::elements::{params};

@group(0) @binding(1) var<storage, read_write> x: array<vec4<u32>>; // [count4] f32 bits
@group(0) @binding(2) var<storage, read_write> y: array<vec2<u32>>; // [count4] four bf16 each

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 256u + lane;
  if (i >= params.count4) { return; }
  let bits = x[i];
  let upper = bits >> vec4<u32>(16u);
  let rounded = (bits + vec4<u32>(0x7fffu) + (upper & vec4<u32>(1u))) >> vec4<u32>(16u);
  let nan = (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
  let code = select(rounded, upper | vec4<u32>(0x40u), nan);
  y[i] = vec2<u32>(code.x | (code.y << 16u), code.z | (code.w << 16u));
}
