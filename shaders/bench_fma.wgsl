// What the device's arithmetic can do at most: VECTORS independent chains of vec4 multiply-adds in registers, and
// nothing else.
//
// An invocation runs params.loops times 8·VECTORS·ROUNDS flops. The rounds are written out, since the end of a loop
// costs a CPU device as much as two hundred multiply-adds. The sum is stored, so that no compiler drops it.

import package::entry::{group_of};

const VECTORS: u32 = 1u; // independent accumulators
const ROUNDS: u32 = 1u;

struct Params {
  group_base: u32,
  group_end: u32,
  loops: u32,
  factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>; // [groups · 64]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let f = vec4<f32>(params.factor);
  // unroll i VECTORS {
  var acc_i0 = vec4<f32>(f32(lane + 0u /*i*/));
  // }
  for (var n = 0u; n < params.loops; n++) {
    // unroll j ROUNDS {
    // unroll i VECTORS {
    acc_i0 = acc_i0 * f + f;
    // }
    // }
  }
  var sum = vec4<f32>();
  // unroll i VECTORS {
  sum += acc_i0;
  // }
  y[group * 64u + lane] = sum;
}
