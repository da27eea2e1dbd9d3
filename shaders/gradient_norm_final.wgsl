// norm = sqrt(sum of the partial sums)
// stats[GRAD_NORM] = norm; stats[BAD] = lowest non-finite block, -1 where there is none
// stats[SKIP]  = 1 where a gradient, the sum or stats[LOSS] is not finite, else 0
// stats[SCALE] = 0 where skipped, else scale * min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_;
// max_norm <= 0: no clipping
//
// One workgroup; an invocation adds every 256th partial, then a tree adds the 256 sums. A block number is stored as a
// float, exact up to 2^24 blocks of 256 elements: the bits of a small integer would be a denormal, which devices may
// flush.

import package::entry::{group_of};
import package::stats::{LOSS, GRAD_NORM, SCALE, SKIP, BAD};

const NONE: u32 = 0xffffffffu;
const EXPONENT: u32 = 0x7f800000u;

struct Params {
  group_base: u32,
  group_end: u32,
  count: u32, // partials
  scale: f32,
  max_norm: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> partials: array<vec2<u32>>; // [count]: bits of a sum, block
@group(0) @binding(2) var<storage, read_write> stats: array<f32>; // [16]

var<workgroup> sums: array<f32, 256>;
var<workgroup> blocks: array<u32, 256>;

fn finite(x: f32) -> bool { return (bitcast<u32>(x) & EXPONENT) != EXPONENT; }

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  var sum = 0.0;
  var bad = NONE;
  for (var i = lane; i < params.count; i += 256u) {
    let partial = partials[i];
    sum += bitcast<f32>(partial.x);
    bad = min(bad, partial.y);
  }
  sums[lane] = sum;
  blocks[lane] = bad;
  workgroupBarrier();
  for (var half = 128u; half > 0u; half /= 2u) {
    if (lane < half) {
      sums[lane] += sums[lane + half];
      blocks[lane] = min(blocks[lane], blocks[lane + half]);
    }
    workgroupBarrier();
  }
  if (lane == 0u) {
    let norm = sqrt(sums[0]);
    var clip = 1.0;
    if (params.max_norm > 0.0) { clip = min(1.0, params.max_norm / (norm + 1e-6)); }
    let sound = blocks[0] == NONE && finite(sums[0]) && finite(stats[LOSS]);
    stats[GRAD_NORM] = norm;
    stats[SCALE] = select(0.0, clip * params.scale, sound);
    stats[SKIP] = select(1.0, 0.0, sound);
    stats[BAD] = select(f32(blocks[0]), -1.0, blocks[0] == NONE);
  }
}
