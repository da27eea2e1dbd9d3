// stats[LOSS] += sum(losses[0:count]); stats[HITS] += sum(hits[0:count])
//
// One workgroup; an invocation adds every 256th element, then a tree adds the 256 sums. 8 bytes and 2 flops per token.

import package::entry::{group_of};
import package::stats::{LOSS, HITS};

struct Params {
  group_base: u32,
  group_end: u32,
  count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> losses: array<f32>; // [count]
@group(0) @binding(2) var<storage, read_write> hits: array<f32>; // [count]
@group(0) @binding(3) var<storage, read_write> stats: array<f32>; // [16]

var<workgroup> sums: array<vec2<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  var sum = vec2<f32>(0.0);
  for (var i = lane; i < params.count; i += 256u) {
    sum += vec2<f32>(losses[i], hits[i]);
  }
  sums[lane] = sum;
  workgroupBarrier();
  for (var half = 128u; half > 0u; half /= 2u) {
    if (lane < half) { sums[lane] += sums[lane + half]; }
    workgroupBarrier();
  }
  if (lane == 0u) {
    stats[LOSS] += sums[0].x;
    stats[HITS] += sums[0].y;
  }
}
