// One step of AdamW whose moments are kept in 8 bits, by bitsandbytes' rules (arXiv 2110.02861), on flat state in
// blocks of 256 elements:
//   g = grad * stats[SCALE];  m0, v0 = map[code] * absmax of the block
//   m = m0 + (1 - beta1) * (g - m0);  v = v0 + (1 - beta2) * (g² - v0)
//   param = (param - step_size * m / (sqrt(v) * root + epsilon)) * (1 - decay),
//     with the moments as they are before they are rounded to 8 bits
//   absmax = max|m|, max v of the block; code = nearest entry of the map to m / absmax, v / absmax
//   where m < 0 gets the entry of zero, the next lower entry
//   grad = 0
// Where stats[SKIP] is not 0 only grad = 0 happens.
// decay = lr * weight_decay, step_size = lr / (1 - beta1^t), root = 1 / sqrt(1 - beta2^t).
//
// A block's record of each moment is 65 words: 64 of four codes, the element with the lowest index in the low byte,
// then absmax. A workgroup owns 4 blocks, 64 invocations a block and a vec4 each; the block's maxima come from a tree.
// The maps lie in workgroup memory: first moment signed, second unsigned. A zero stays zero (bitsandbytes moves -0 to
// the entry below zero), so that padding does. 21 bytes read and written per element.

import package::entry::{group_of};
import package::adamw::{params, stats};
import package::stats::{SCALE, SKIP};

const RECORD: u32 = 65u; // words of a block
const SIGNED: u32 = 0u; // where a map begins
const UNSIGNED: u32 = 256u;

@group(0) @binding(2) var<storage, read_write> dynamic_maps: array<f32>; // [512]: signed, unsigned
@group(0) @binding(3) var<storage, read_write> param: array<vec4<f32>>; // [count4]
@group(0) @binding(4) var<storage, read_write> grad: array<vec4<f32>>; // [count4]
@group(0) @binding(5) var<storage, read_write> first_moment: array<u32>; // [count4 / 64, 65]
@group(0) @binding(6) var<storage, read_write> second_moment: array<u32>; // [count4 / 64, 65]

var<workgroup> entries: array<f32, 512>;
var<workgroup> largest: array<vec2<f32>, 256>; // of m and v

fn decode(codes: u32, first: u32) -> vec4<f32> {
  return vec4<f32>(entries[first + (codes & 255u)], entries[first + ((codes >> 8u) & 255u)],
                   entries[first + ((codes >> 16u) & 255u)], entries[first + (codes >> 24u)]);
}

// nearest is bitsandbytes' search: on an exact midpoint the entry where the search ended is kept.
fn nearest(x: f32, first: u32) -> u32 {
  var lower = 0u;
  var pivot = 127u;
  var upper = 255u;
  var value = entries[first + pivot];
  for (var step = 64u; step > 0u; step /= 2u) {
    if (x > value) {
      lower = pivot;
      pivot += step;
    } else {
      upper = pivot;
      pivot -= step;
    }
    value = entries[first + pivot];
  }
  if (x > value) { return select(pivot, upper, x > (entries[first + upper] + value) * 0.5); }
  return select(pivot, lower, x < (entries[first + lower] + value) * 0.5);
}

fn signed_code(m: f32, absmax: f32) -> u32 {
  let code = nearest(m / absmax, SIGNED);
  return select(code, code - 1u, m < 0.0 && entries[SIGNED + code] == 0.0);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  entries[lane] = dynamic_maps[lane];
  entries[lane + 256u] = dynamic_maps[lane + 256u];
  workgroupBarrier();
  let i = group * 256u + lane;
  let inside = i < params.count4;
  let updates = inside && stats[SKIP] == 0.0;
  let record = i / 64u * RECORD;
  let word = record + i % 64u;
  var m = vec4<f32>(0.0);
  var v = vec4<f32>(0.0);
  if (updates) {
    let g = grad[i] * stats[SCALE];
    let m0 = decode(first_moment[word], SIGNED) * bitcast<f32>(first_moment[record + 64u]);
    let v0 = decode(second_moment[word], UNSIGNED) * bitcast<f32>(second_moment[record + 64u]);
    m = m0 + params.one_minus_beta1 * (g - m0);
    v = v0 + params.one_minus_beta2 * (g * g - v0);
    let p = param[i];
    let change = params.step_size * (m / (sqrt(v) * params.root + vec4<f32>(params.epsilon)));
    param[i] = p - (change + params.decay * (p - change));
  }
  let size = abs(m);
  largest[lane] = vec2<f32>(max(max(size.x, size.y), max(size.z, size.w)), max(max(v.x, v.y), max(v.z, v.w)));
  workgroupBarrier(); // every old absmax is read by now: what was written to largest depends on it
  for (var half = 32u; half > 0u; half /= 2u) {
    if ((lane & 63u) < half) { largest[lane] = max(largest[lane], largest[lane + half]); }
    workgroupBarrier();
  }
  if (updates) {
    let absmax = largest[lane & 192u];
    let divisor = max(absmax, vec2<f32>(1.2e-38)); // of a block of zeros: 0 / divisor is 0
    first_moment[word] = signed_code(m.x, divisor.x) | (signed_code(m.y, divisor.x) << 8u) | (signed_code(m.z, divisor.x) << 16u)
      | (signed_code(m.w, divisor.x) << 24u);
    let scaled = v / divisor.y;
    second_moment[word] = nearest(scaled.x, UNSIGNED) | (nearest(scaled.y, UNSIGNED) << 8u) | (nearest(scaled.z, UNSIGNED) << 16u)
      | (nearest(scaled.w, UNSIGNED) << 24u);
    if ((lane & 63u) == 0u) {
      first_moment[record + 64u] = bitcast<u32>(absmax.x);
      second_moment[record + 64u] = bitcast<u32>(absmax.y);
    }
  }
  if (inside) { grad[i] = vec4<f32>(0.0); }
}
