// partials[first_block + b] = (sum of (scale * grad)² over block b of 256 elements, first_block + b where it holds a
// NaN or an infinity, else NONE)
//
// A workgroup owns 16 blocks, 16 invocations a block and each 4 vec4 of it, 16 vec4 apart; a tree adds the 16 sums. A
// sum a block, wherever it lies: the norm does not depend on how flat state is cut into buffers. Non-finite elements
// add nothing and are found by their exponent bits, since a compiler may assume them absent. 4 bytes and 4 flops per
// element.

import package::entry::{group_of};

const NONE: u32 = 0xffffffffu;
const EXPONENT: u32 = 0x7f800000u;

struct Params {
  group_base: u32,
  group_end: u32,
  count4: u32, // elements / 4
  first_block: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> grad: array<vec4<f32>>; // [count4]
@group(0) @binding(2) var<storage, read_write> partials: array<vec2<u32>>; // bits of the sum, block

var<workgroup> sums: array<f32, 256>;
var<workgroup> blocks: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let block = group * 16u + lane / 16u;
  var sum = 0.0;
  var bad = NONE;
  for (var k = 0u; k < 4u; k++) {
    let i = block * 64u + k * 16u + lane % 16u;
    if (i < params.count4) {
      let g = grad[i];
      let odd = (bitcast<vec4<u32>>(g) & vec4<u32>(EXPONENT)) == vec4<u32>(EXPONENT);
      let x = select(g * params.scale, vec4<f32>(0.0), odd);
      sum += dot(x, x);
      if (any(odd)) { bad = params.first_block + block; }
    }
  }
  sums[lane] = sum;
  blocks[lane] = bad;
  workgroupBarrier();
  for (var half = 8u; half > 0u; half /= 2u) {
    if (lane % 16u < half) {
      sums[lane] += sums[lane + half];
      blocks[lane] = min(blocks[lane], blocks[lane + half]);
    }
    workgroupBarrier();
  }
  if (lane % 16u == 0u && block * 64u < params.count4) {
    partials[params.first_block + block] = vec2<u32>(bitcast<u32>(sums[lane]), blocks[lane]);
  }
}
