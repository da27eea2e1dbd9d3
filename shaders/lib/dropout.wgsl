import package::random::{pcg};

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

// What elements 4·i to 4·i + 3 are multiplied with: 0, or 1 / (1-p) where an element is kept.
fn mask(i: u32) -> vec4<f32> {
  let index = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
  let random = pcg(pcg(index ^ pcg(vec4<u32>(params.key0))) ^ vec4<u32>(params.key1)) >> vec4<u32>(8u);
  return select(vec4<f32>(0.0), vec4<f32>(params.scale), random >= vec4<u32>(params.threshold));
}
