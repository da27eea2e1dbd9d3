// packed[c][t][i] = x[t, 512·c + i]: an activation cut into chunks of 512 columns, each with all tokens, so that 32 tokens of a chunk are 64 KiB that can be
// bound as a uniform array. Tokens up to the next multiple of 32 and columns up to the next multiple of 512 are zero.
//
// An invocation owns one vec4 of packed. 8 bytes an element.

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  padded: u32, // tokens rounded up to 32
  cols4: u32,  // columns / 4
  first4: u32, // where the bound piece of packed begins
  count4: u32, // its size, of chunks · padded · 128
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;      // [tokens, cols4]
@group(0) @binding(2) var<storage, read_write> packed: array<vec4<f32>>; // [count4] of [chunks, padded, 128]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let local = group * 64u + lane;
  if (local >= params.count4) { return; }
  let i = params.first4 + local;
  let t = (i / 128u) % params.padded;
  let col = (i / 128u / params.padded) * 128u + i % 128u;
  var v = vec4<f32>();
  if (t < params.tokens && col < params.cols4) { v = x[t * params.cols4 + col]; }
  packed[local] = v;
}
