// packed[c][t][i] = x[t, 512·c + i]: an activation cut into chunks of 512 columns, each with all tokens, so that 32
// tokens of a chunk are 64 KiB that can be bound as a uniform array. Tokens up to the next multiple of 32 are zero;
// beyond the last column nothing is written, and nothing reads.
//
// An invocation owns one vec4. 8 bytes an element.

import package::entry::{group_of};

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  first_token: u32, // of the bound piece of packed
  pitch: u32,       // its tokens, which lie between two of its chunks
  cols4: u32,       // columns / 4
  first_col4: u32,  // of the piece
  width4: u32,      // columns / 4 in it
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;      // [tokens, cols4]
@group(0) @binding(2) var<storage, read_write> packed: array<vec4<f32>>; // [chunks of the piece, pitch, 128]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 64u + lane;
  if (i >= params.pitch * params.width4) { return; }
  let row = i / params.width4;
  let col = i % params.width4;
  let t = params.first_token + row;
  var v = vec4<f32>();
  if (t < params.tokens) { v = x[t * params.cols4 + params.first_col4 + col]; }
  packed[(col / 128u * params.pitch + row) * 128u + col % 128u] = v;
}
