@group(0) @binding(1) var<storage, read> region: array<u32>; // nested map [256], codebook [16], then what offsets name

// Where a shard's absmax, quantized themselves, lie in region.
struct Absmax {
  codes: u32,
  nested: u32,
  first_block: u32, // the shard's first absmax within its group
  shifts: u32, // log2 of the block size, and at bit 8 that of the blocks that share a nested absmax
  offset: f32,
}

// The absmax of element i of this shard.
fn scale(a: Absmax, i: u32) -> f32 {
  let b = i >> (a.shifts & 255u);
  let code = (region[a.codes + (b >> 2u)] >> ((b & 3u) * 8u)) & 255u;
  let outer = bitcast<f32>(region[a.nested + ((a.first_block + b) >> (a.shifts >> 8u))]);
  return bitcast<f32>(region[code]) * outer + a.offset;
}

// Those of four rows, cols4 apart, of which `at` is the place of the first in units of four columns.
fn scales4(a: Absmax, at: u32, cols4: u32) -> vec4<f32> {
  return vec4<f32>(scale(a, at * 4u), scale(a, (at + cols4) * 4u), scale(a, (at + 2u * cols4) * 4u), scale(a, (at + 3u * cols4) * 4u));
}

// The words of the same rows with four columns' codes in the low half, of even columns, or the high half.
fn words4(packed: u32, at: u32, cols4: u32) -> vec4<u32> {
  return vec4<u32>(region[packed + (at >> 1u)], region[packed + ((at + cols4) >> 1u)],
                   region[packed + ((at + 2u * cols4) >> 1u)], region[packed + ((at + 3u * cols4) >> 1u)]);
}

// Four elements of the bias from row n on; first is where it begins in region, 0xffffffff where there is none.
fn bias4(first: u32, n: u32) -> vec4<f32> {
  if (first == 0xffffffffu) { return vec4<f32>(); }
  let at = first + n;
  return bitcast<vec4<f32>>(vec4<u32>(region[at], region[at + 1u], region[at + 2u], region[at + 3u]));
}
