// dx[t] = inv[t] * (weight*dy[t] - x[t] * inv[t]^2 * mean(weight*dy[t]*x[t])), or dx += that where accumulate is not 0;
// inv[t] = 1 / sqrt(mean(x[t]^2) + epsilon). x, dy, dx [T, C], weight [C].
//
// A workgroup owns a row, an invocation every 64th vec4 of it.
// Both sums run in f32: per invocation in column order, then as a tree over the invocations. inv is computed again, not
// loaded. 28 bytes (32 when accumulating) and 12 flops per element.

import package::entry::{group_of};

const WIDTH: u32 = 64u;

struct Params {
  group_base: u32,
  group_end: u32,
  cols4: u32, // C / 4
  weight4: u32, // where the weight starts in its region, in vec4
  epsilon: f32,
  accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<vec4<f32>>; // [T, C/4]
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>; // [T, C/4]
@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>; // a region; [C/4] from weight4
@group(0) @binding(4) var<storage, read_write> dx: array<vec4<f32>>; // [T, C/4]

var<workgroup> sums: array<vec2<f32>, WIDTH>; // of x^2 and of weight*dy*x

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let row = group * params.cols4;

  var sum = vec2<f32>(0.0);
  for (var i = lane; i < params.cols4; i += WIDTH) {
    let v = x[row + i];
    sum += vec2<f32>(dot(v, v), dot(v, dy[row + i] * weights[params.weight4 + i]));
  }
  sums[lane] = sum;
  workgroupBarrier();
  for (var stride = WIDTH / 2u; stride > 0u; stride /= 2u) {
    if (lane < stride) { sums[lane] += sums[lane + stride]; }
    workgroupBarrier();
  }

  let mean = sums[0] / f32(4u * params.cols4);
  let inv = inverseSqrt(mean.x + params.epsilon);
  for (var i = lane; i < params.cols4; i += WIDTH) {
    var d = inv * (dy[row + i] * weights[params.weight4 + i] - x[row + i] * (inv * inv * mean.y));
    if (params.accumulate != 0u) { d += dx[row + i]; }
    dx[row + i] = d;
  }
}
