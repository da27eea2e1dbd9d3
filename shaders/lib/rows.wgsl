// Params of copies of rows.
struct Params {
  group_base: u32,
  group_end: u32,
  rows: u32, // of y
  cols4: u32, // columns / 4
  sources: u32, // rows of x
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>; // [sources, cols4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [rows, cols4]
