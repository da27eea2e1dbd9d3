// One step of AdamW (Loshchilov & Hutter, arXiv 1711.05101) in torch's order, on flat state:
//   g = grad * stats[SCALE]
//   m = m + (1 - beta1) * (g - m);  v = v + (1 - beta2) * (g² - v)
//   param = param - decay * param - step_size * m / (sqrt(v) * root + epsilon)
//   with decay = lr * weight_decay, step_size = lr / (1 - beta1^t), root = 1 / sqrt(1 - beta2^t)
//   grad = 0
// Where stats[SKIP] is not 0 only grad = 0 happens.
//
// A workgroup owns 256 vec4, an invocation one. The moments move towards g and g² by a difference:
// beta2 * v + (1 - beta2) * g² in float32 has coefficients whose sum is off by 1e-8, which v amplifies by
// 1 / (1 - beta2); likewise 1 - lr * weight_decay would keep only one or two digits of a usual decay, and param is
// rounded once. Host factors come from float64. 32 bytes read and written and about 16 flops per element.

import package::entry::{group_of};
import package::adamw::{params, stats};
import package::stats::{SCALE, SKIP};

@group(0) @binding(2) var<storage, read_write> param: array<vec4<f32>>; // [count4]
@group(0) @binding(3) var<storage, read_write> grad: array<vec4<f32>>; // [count4]
@group(0) @binding(4) var<storage, read_write> first_moment: array<vec4<f32>>; // [count4]
@group(0) @binding(5) var<storage, read_write> second_moment: array<vec4<f32>>; // [count4]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 256u + lane;
  if (i >= params.count4) { return; }
  if (stats[SKIP] == 0.0) {
    let g = grad[i] * stats[SCALE];
    let m0 = first_moment[i];
    let v0 = second_moment[i];
    let m = m0 + params.one_minus_beta1 * (g - m0);
    let v = v0 + params.one_minus_beta2 * (g * g - v0);
    first_moment[i] = m;
    second_moment[i] = v;
    let p = param[i];
    param[i] = p - (params.decay * p + params.step_size * (m / (sqrt(v) * params.root + vec4<f32>(params.epsilon))));
  }
  grad[i] = vec4<f32>(0.0);
}
