// In the first R columns of every head of x [T, H*D], in place: y[i] = x[i]*cos - x[i+R/2]*sin, y[i+R/2] =
// x[i+R/2]*cos + x[i]*sin, with row positions[t] of the tables cos, sin [P, R/2] and i < R/2. The backward turns the
// other way: direction -1 negates the sine.
//
// A workgroup owns 64 pairs of neighbouring columns over the tokens; an invocation rotates its two columns i, i+1 (with
// i+R/2, i+1+R/2) in all heads, so that the tables are read once a token. 8 bytes (and the tables) and 3 flops per
// element.

import package::entry::{group_of};

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32, // T
  heads: u32, // H
  head_dim2: u32, // D / 2
  rotary_dim4: u32, // R / 4
  last_position: u32, // P - 1
  direction: f32, // 1 or -1
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec2<f32>>; // [T, H*D/2]
@group(0) @binding(2) var<storage, read_write> positions: array<u32>; // [T]
@group(0) @binding(3) var<storage, read> cosines: array<vec2<f32>>; // [P, R/4]
@group(0) @binding(4) var<storage, read> sines: array<vec2<f32>>; // [P, R/4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let quarter = params.rotary_dim4;
  let index = group * 64u + lane;
  if (index >= params.tokens * quarter) { return; }
  let t = index / quarter;
  let i = index % quarter;

  let entry = min(positions[t], params.last_position) * quarter + i;
  let c = cosines[entry];
  let s = sines[entry] * params.direction;
  for (var head = 0u; head < params.heads; head += 1u) {
    let first = (t * params.heads + head) * params.head_dim2 + i;
    let a = x[first];
    let b = x[first + quarter];
    x[first] = a * c - b * s;
    x[first + quarter] = b * c + a * s;
  }
}
