// y[t] = x[inverse[t] - 1], zero where inverse[t] is 0; y [T, C], x [S, C], inverse [T].
//
// A workgroup owns 256 vec4 of y, an invocation one. Reading through the inverse writes every row once, the zeros too.
// A number beyond S reads row S-1.
// 4 bytes per element, 8 where a row comes from x.

import package::entry::{group_of};
import package::rows::{params, x, y};

@group(0) @binding(2) var<storage, read_write> inverse: array<u32>; // [T]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 256u + lane;
  if (i >= params.rows * params.cols4) { return; }
  let number = min(inverse[i / params.cols4], params.sources);
  var v = vec4<f32>(0.0);
  if (number > 0u) { v = x[(number - 1u) * params.cols4 + i % params.cols4]; }
  y[i] = v;
}
