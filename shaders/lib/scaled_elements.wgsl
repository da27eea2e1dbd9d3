// Params of an operation on elements one by one, with a number.
struct Params {
  group_base: u32,
  group_end: u32,
  count4: u32, // elements / 4
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
