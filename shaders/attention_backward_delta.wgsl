// stats[t, h] = (lse[t, h], do_t.o_t of head h): what both other kernels of the backward need of a query, in one
// binding. do, o [T, H*D], lse [T, H].
//
// An invocation owns a token's head, a workgroup 64. Summed in f32 in order.
// 8 bytes and 2 flops per element.

import package::entry::{group_of};

struct Params {
  group_base: u32,
  group_end: u32,
  count: u32, // T * H
  head_dim4: u32, // D / 4
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> d_out: array<vec4<f32>>; // [T, H*D/4]
@group(0) @binding(2) var<storage, read_write> o: array<vec4<f32>>; // [T, H*D/4]
@group(0) @binding(3) var<storage, read_write> lse: array<f32>; // [T, H]
@group(0) @binding(4) var<storage, read_write> stats: array<vec2<f32>>; // [T, H]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 64u + lane;
  if (i >= params.count) { return; }
  var delta = 0.0;
  for (var d = 0u; d < params.head_dim4; d++) {
    delta += dot(d_out[i * params.head_dim4 + d], o[i * params.head_dim4 + d]);
  }
  stats[i] = vec2<f32>(lse[i], delta);
}
