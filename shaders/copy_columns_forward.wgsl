// y[t, c] = x[t, c] over a block of columns of both; y and x are of different buffers or parts of them.
//
// A workgroup owns 256 vec4 of the block, an invocation one. 8 bytes per element.

import package::entry::{group_of};

struct Params {
  group_base: u32,
  group_end: u32,
  rows: u32,
  cols4: u32, // of the block / 4
  x_cols4: u32, // of x / 4
  x_first4: u32, // where the block begins in a row of x
  y_cols4: u32,
  y_first4: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>; // [rows, x_cols4]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [rows, y_cols4]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 256u + lane;
  if (i >= params.rows * params.cols4) { return; }
  let row = i / params.cols4;
  let col = i % params.cols4;
  y[row * params.y_cols4 + params.y_first4 + col] = x[row * params.x_cols4 + params.x_first4 + col];
}
