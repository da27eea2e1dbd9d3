// y[t] = x[t] * inv[t] * weight, inv[t] = 1 / sqrt(mean(x[t]^2) + epsilon); x, y [T, C], weight [C].
//
// A workgroup owns a row, an invocation every 64th vec4 of it.
// Squares are summed in f32: per invocation in column order, then as a tree over the invocations. Nothing is saved for
// backward. 16 bytes and 4 flops per element.

import package::entry::{group_of};

const WIDTH: u32 = 64u;

struct Params {
  group_base: u32,
  group_end: u32,
  cols4: u32, // C / 4
  weight4: u32, // where the weight starts in its region, in vec4
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>; // [T, C/4]
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>; // a region; [C/4] from weight4
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [T, C/4]

var<workgroup> sums: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let row = group * params.cols4;

  var sum = 0.0;
  for (var i = lane; i < params.cols4; i += WIDTH) {
    let v = x[row + i];
    sum += dot(v, v);
  }
  sums[lane] = sum;
  workgroupBarrier();
  for (var stride = WIDTH / 2u; stride > 0u; stride /= 2u) {
    if (lane < stride) { sums[lane] += sums[lane + stride]; }
    workgroupBarrier();
  }

  let inv = inverseSqrt(sums[0] / f32(4u * params.cols4) + params.epsilon);
  for (var i = lane; i < params.cols4; i += WIDTH) {
    y[row + i] = x[row + i] * inv * weights[params.weight4 + i];
  }
}
