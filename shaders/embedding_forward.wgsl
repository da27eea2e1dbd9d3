// x[t] = table[ids[t]], for the ids whose rows lie in this shard of the table; x [T, C], table [V, C] in bf16.
//
// A workgroup owns 256 vec4 of x, an invocation one.
// bf16 is the upper half of an f32: widening is exact. An id of V or more reads row V-1, so that all of x is written.
// 6 bytes per element.

import package::entry::{group_of};
import package::bfloat16::{widen};

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32, // T
  cols4: u32, // C / 4
  vocab: u32, // V
  first_row: u32, // of the shard
  shard_rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [shard_rows, C/4], four bf16 each, lower columns in low halves
@group(0) @binding(1) var<storage, read> table: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> ids: array<u32>; // [T]
@group(0) @binding(3) var<storage, read_write> x: array<vec4<f32>>; // [T, C/4]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 256u + lane;
  if (i >= params.tokens * params.cols4) { return; }
  let id = min(ids[i / params.cols4], params.vocab - 1u);
  let row = id - params.first_row; // wraps around for an id before the shard
  if (row >= params.shard_rows) { return; }
  x[i] = bitcast<vec4<f32>>(widen(table[row * params.cols4 + i % params.cols4]));
}
