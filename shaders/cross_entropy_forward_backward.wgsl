// losses[s] = log(sum_v exp(logits[s, v])) - logits[s, targets[s]]
// hits[s]   = 1 where targets[s] is the lowest index of the row's largest logit, else 0
// logits[s, v] = softmax(logits[s, :])[v] - (v == targets[s]), the gradient of the SUM of losses;
// columns from vocab on become 0. Where logits are cap·tanh(z/cap) the gradient is that of z, by the factor 1 -
// (logit/cap)². With GRADIENT = 0 logits stay as they are. targets, losses and hits are read and
// written from row `first` on.
//
// A workgroup owns a row, an invocation every 256th vec4 of it. The sum is taken relative to a running maximum,
// rescaled when that grows (Milakov & Gimelshein, arXiv 1805.02867), so the row is read once for both, and once more
// for the gradient. A NaN or infinite logit becomes the row's loss: it is found by its exponent bits, for exp, log and
// max of a NaN may be anything. 12 bytes and about 40 flops per element, 4 bytes and 20 flops without gradient.

import package::entry::{group_of};
import package::exponential::{exponential};

const GRADIENT: u32 = 1u;
const MASKED: f32 = -1e30;
const INFINITY: u32 = 0x7f800000u; // its bits; those of a NaN without sign are above

struct Params {
  group_base: u32,
  group_end: u32,
  vocab: u32,
  stride4: u32, // columns of logits / 4, at least vocab / 4
  first: u32,
  inverse_cap: f32, // 1 / cap; 0: none
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> targets: array<u32>; // [first + S]
@group(0) @binding(2) var<storage, read_write> logits: array<vec4<f32>>; // [S, stride4], in and out
@group(0) @binding(3) var<storage, read_write> losses: array<f32>; // [first + S]
@group(0) @binding(4) var<storage, read_write> hits: array<f32>; // [first + S]

var<workgroup> largest: array<f32, 256>; // of the lane's logits
var<workgroup> position: array<u32, 256>; // of that logit
var<workgroup> total: array<f32, 256>; // of exp(logit - largest)
var<workgroup> magnitude: array<u32, 256>; // bits of the largest |logit|

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let row = group * params.stride4;
  let vocab = vec4<u32>(params.vocab);

  var most = MASKED;
  var at = 0xffffffffu;
  var sum = 0.0;
  var bits = vec4<u32>(0u);
  for (var i = lane; i < params.stride4; i += 256u) {
    let column = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
    let x = select(logits[row + i], vec4<f32>(MASKED), column >= vocab);
    bits = max(bits, bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu));
    let here = max(max(x.x, x.y), max(x.z, x.w));
    if (here > most) {
      sum *= exp(most - here);
      most = here;
      let equal = select(vec4<u32>(0xffffffffu), column, x == vec4<f32>(here));
      at = min(min(equal.x, equal.y), min(equal.z, equal.w));
    }
    sum += dot(exponential(x - vec4<f32>(most)), vec4<f32>(1.0));
  }
  largest[lane] = most;
  position[lane] = at;
  total[lane] = sum;
  magnitude[lane] = max(max(bits.x, bits.y), max(bits.z, bits.w));
  workgroupBarrier();
  for (var half = 128u; half > 0u; half /= 2u) {
    if (lane < half) {
      let a = largest[lane];
      let b = largest[lane + half];
      let m = max(a, b);
      let pa = select(0xffffffffu, position[lane], a == m);
      let pb = select(0xffffffffu, position[lane + half], b == m);
      total[lane] = total[lane] * exp(a - m) + total[lane + half] * exp(b - m);
      largest[lane] = m;
      position[lane] = min(pa, pb);
      magnitude[lane] = max(magnitude[lane], magnitude[lane + half]);
    }
    workgroupBarrier();
  }
  most = largest[0];
  sum = total[0];

  // The invocation that will overwrite the target's logit reads it.
  let wanted = min(targets[params.first + group], params.vocab - 1u);
  if (lane == (wanted / 4u) % 256u) {
    let x = logits[row + wanted / 4u];
    let c = wanted % 4u;
    let logit = select(select(x.x, x.y, c == 1u), select(x.z, x.w, c == 3u), c >= 2u);
    losses[params.first + group] = select(log(sum) + (most - logit), bitcast<f32>(magnitude[0]), magnitude[0] >= INFINITY);
    hits[params.first + group] = select(0.0, 1.0, position[0] == wanted);
  }
  if (GRADIENT == 1u) {
    let scale = 1.0 / sum;
    for (var i = lane; i < params.stride4; i += 256u) {
      let column = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
      let x = logits[row + i];
      let p = exponential(x - vec4<f32>(most)) * scale;
      let part = x * params.inverse_cap;
      let onehot = select(vec4<f32>(0.0), vec4<f32>(1.0), column == vec4<u32>(wanted));
      logits[row + i] = select((p - onehot) * (1.0 - part * part), vec4<f32>(0.0), column >= vocab);
    }
  }
}
