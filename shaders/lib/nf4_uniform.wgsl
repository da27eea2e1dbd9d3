// The maps and the absmax through uniform arrays, windows of the region, for CPU devices, where such a load costs a
// twentieth of a storage load.
// the region's start: nested map [256], codebook [16]
@group(0) @binding(2) var<uniform> maps: array<vec4<f32>, 4096>;
@group(0) @binding(3) var<uniform> codes: array<vec4<u32>, 4096>;  // absmax codes, a byte each
@group(0) @binding(4) var<uniform> nested: array<vec4<f32>, 4096>; // nested absmax

// Where a shard's absmax, quantized themselves, lie in their windows.
struct Absmax {
  codes_first: u32,  // the shard's block 0 in bytes from the window of codes, modulo 2^32
  nested_first: u32, // the nested absmax of the shard's first group in the window of nested
  first_block: u32,  // the shard's first absmax within its group
  shifts: u32,  // log2 of the block size, and at bit 8 that of the blocks that share a nested absmax
  offset: f32,
}

// The absmax of element e of this shard.
fn scale(a: Absmax, e: u32) -> f32 {
  let b = e >> (a.shifts & 255u);
  let i = a.codes_first + b;
  let code = (codes[i >> 4u][(i >> 2u) & 3u] >> ((i & 3u) * 8u)) & 255u;
  let j = a.nested_first + ((a.first_block + b) >> (a.shifts >> 8u));
  return maps[code >> 2u][code & 3u] * nested[j >> 2u][j & 3u] + a.offset;
}

// Those of four rows, cols4 apart, of which `at` is the place of the first in units of four columns.
fn scales4(a: Absmax, at: u32, cols4: u32) -> vec4<f32> {
  return vec4<f32>(scale(a, at * 4u), scale(a, (at + cols4) * 4u), scale(a, (at + 2u * cols4) * 4u), scale(a, (at + 3u * cols4) * 4u));
}

fn weight(code: u32) -> f32 {
  return maps[64u + ((code >> 2u) & 3u)][code & 3u];
}

// Four codes of the low half of a word: the first element of a byte is its high nibble.
fn decode(half: u32) -> vec4<f32> {
  return vec4<f32>(weight(half >> 4u), weight(half), weight(half >> 12u), weight(half >> 8u));
}
