// y[t, first + i] += bias[i], for the rows of W that one shard of its bias belongs to.
//
// A workgroup owns 256 vec4 of those columns, tokens one after another; an invocation one. 8 bytes and 1 flop per
// element.

import package::entry::{group_of};

struct Params {
  group_base: u32,
  group_end: u32,
  count4: u32,  // tokens · rows4
  rows4: u32,   // of this shard / 4
  stride4: u32, // columns of y / 4
  first4: u32,  // the shard's first column of y / 4
  bias4: u32,   // where the bias starts in its region, in vec4
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>; // a region; [rows4] from bias4
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [T, stride4]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 256u + lane;
  if (i >= params.count4) { return; }
  let column = i % params.rows4;
  y[i / params.rows4 * params.stride4 + params.first4 + column] += weights[params.bias4 + column];
}
