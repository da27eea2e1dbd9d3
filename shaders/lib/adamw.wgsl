struct Params {
  group_base: u32,
  group_end: u32,
  count4: u32, // elements / 4
  decay: f32,
  one_minus_beta1: f32,
  one_minus_beta2: f32,
  step_size: f32,
  root: f32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> stats: array<f32>; // [16]
