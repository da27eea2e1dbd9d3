// dx += dy * mask / (1-p), elementwise, with the mask of dropout_forward; element i is kept when the upper 24 bits of
// pcg(pcg(i ^ pcg(key0)) ^ key1) are at least the threshold ceil(p * 2^24).
//
// A workgroup owns 256 vec4, an invocation one. The mask depends on nothing but the index and the key: forward and backward
// make the same one.
// 12 bytes and about 25 integer operations per element.

struct Params {
  group_base: u32,
  group_end: u32,
  count4: u32, // elements / 4
  key0: u32,
  key1: u32,
  threshold: u32,
  scale: f32, // 1 / (1-p)
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<vec4<f32>>; // [count4]
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>; // [count4]

fn pcg(v: vec4<u32>) -> vec4<u32> {
  let state = v * 747796405u + 2891336453u;
  let word = ((state >> ((state >> vec4<u32>(28u)) + 4u)) ^ state) * 277803737u;
  return (word >> vec4<u32>(22u)) ^ word;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let i = group * 256u + lane;
  if (i >= params.count4) { return; }
  let index = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
  let random = pcg(pcg(index ^ pcg(vec4<u32>(params.key0))) ^ vec4<u32>(params.key1)) >> vec4<u32>(8u);
  let mask = select(vec4<f32>(0.0), vec4<f32>(params.scale), random >= vec4<u32>(params.threshold));
  dx[i] += dy[i] * mask;
}
