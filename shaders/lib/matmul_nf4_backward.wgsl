// The operands of dx (+)= dy W, W in NF4, for the variants that read dy as it lies.
struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows: u32,        // rows of W in this shard, a multiple of 4
  words: u32,       // K / 8
  dy_stride4: u32,  // N / 4, all shards
  dy_first4: u32,   // first row of this shard / 4
  packed: u32,      // word offsets in region
  codes: u32,
  nested: u32,
  offset: f32,      // of the double quantization
  first_block: u32, // the shard's first absmax within its group
  shifts: u32, // log2 of the block size, and at bit 8 that of the blocks that share a nested absmax
  col_tiles: u32,
  accumulate: u32,  // 1: dx +=
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> dy: array<vec4<f32>>; // [tokens, dy_stride4]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [tokens, 2·words]
