// w[n, k] = codebook[code] * absmax: a frozen weight as float32, for merging, export and the self-check.
//
// An invocation owns one word of 8 columns. 0.516 bytes read and 4 written a weight.

import package::entry::{group_of};
import package::nf4::{Absmax, region, scale};

struct Params {
  group_base: u32,
  group_end: u32,
  words: u32,       // rows · K / 8
  packed: u32,      // word offsets in region
  codes: u32,
  nested: u32,
  offset: f32,      // of the double quantization
  first_block: u32, // the shard's first absmax within its group
  shifts: u32, // log2 of the block size, and at bit 8 that of the blocks that share a nested absmax
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> w: array<vec4<f32>>; // [rows, K / 4]

fn decode(half: u32) -> vec4<f32> {
  let i = (vec4<u32>(half) >> vec4<u32>(4u, 0u, 12u, 8u)) & vec4<u32>(15u);
  return bitcast<vec4<f32>>(vec4<u32>(region[256u + i.x], region[256u + i.y], region[256u + i.z], region[256u + i.w]));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 64u + lane;
  if (i >= params.words) { return; }
  let codes = region[params.packed + i];
  let absmax = Absmax(params.codes, params.nested, params.first_block, params.shifts, params.offset);
  let s = scale(absmax, i * 8u);
  w[2u * i] = decode(codes) * s;
  w[2u * i + 1u] = decode(codes >> 16u) * s;
}
