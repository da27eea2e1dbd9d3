// y[s] = x[rows[s]]; y [S, C], x [T, C], rows [S].
//
// A workgroup owns 256 vec4 of y, an invocation one. A row number of T or more reads row T-1.
// 8 bytes per element.

import package::entry::{group_of};
import package::rows::{params, x, y};

@group(0) @binding(2) var<storage, read_write> rows: array<u32>; // [S]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 256u + lane;
  if (i < params.rows * params.cols4) {
    let row = min(rows[i / params.cols4], params.sources - 1u);
    y[i] = x[row * params.cols4 + i % params.cols4];
  }
}
