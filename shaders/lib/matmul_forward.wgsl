// The operands of y (+)= alpha · x wᵀ for the variants that read x as it lies.
struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows: u32,       // rows of w in this shard
  cols4: u32,      // K / 4
  y_stride: u32,   // columns of y, a multiple of 4
  y_first: u32,    // first row of this shard
  row_tiles: u32,
  accumulate: u32, // 1: y +=
  alpha: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>; // [tokens, cols4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [tokens, y_stride / 4]
