// packed[b][k][i] = x[64·b + i, k]: an activation cut into blocks of 64 tokens, each column by column, so that a tile
// of a product reads neighbouring memory and has nothing to transpose. Tokens up to the next multiple of 64 and columns
// up to the next of 16 are zero.
//
// An invocation owns 4 × 4 elements, a workgroup 64 tokens of 16 columns. 8 bytes an element.

import package::entry::{group_of};

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  first_token: u32, // of the bound piece of packed
  cols4: u32,       // columns / 4
  padded16: u32,    // columns / 16, rounded up
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;      // [tokens, cols4]
@group(0) @binding(2) var<storage, read_write> packed: array<vec4<f32>>; // [blocks of the piece, 16·padded16, 16]

fn tokens4(t: u32, k4: u32) -> vec4<f32> {
  if (t >= params.tokens || k4 >= params.cols4) { return vec4<f32>(); }
  return x[t * params.cols4 + k4];
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let block = group / params.padded16;
  let k4 = group % params.padded16 * 4u + lane % 4u;
  let m = lane / 4u; // which 4 tokens
  let t = params.first_token + 64u * block + 4u * m;
  let r0 = tokens4(t, k4);
  let r1 = tokens4(t + 1u, k4);
  let r2 = tokens4(t + 2u, k4);
  let r3 = tokens4(t + 3u, k4);
  let to = (block * 16u * params.padded16 + 4u * k4) * 16u + m;
  packed[to] = vec4<f32>(r0.x, r1.x, r2.x, r3.x);
  packed[to + 16u] = vec4<f32>(r0.y, r1.y, r2.y, r3.y);
  packed[to + 32u] = vec4<f32>(r0.z, r1.z, r2.z, r3.z);
  packed[to + 48u] = vec4<f32>(r0.w, r1.w, r2.w, r3.w);
}
