// y = act(gate) * up, elementwise: with SiLU, g * sigmoid(g), or with GELU in its tanh form.
//
// A workgroup owns 256 vec4, an invocation one.
// The exponent is held at 80, where sigmoid is 1e-35: no infinity arises.
// 12 bytes and about 10 flops per element.

import package::entry::{group_of};
import package::elements::{params};
import package::gated::{GELU, gelu};
import package::exponential::{exponential};

@group(0) @binding(1) var<storage, read_write> gate: array<vec4<f32>>; // [count4]
@group(0) @binding(2) var<storage, read_write> up: array<vec4<f32>>; // [count4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [count4]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let i = group * 256u + lane;
  if (i < params.count4) {
    let g = gate[i];
    if (GELU == 1u) {
      y[i] = gelu(g).value * up[i];
    } else {
      y[i] = g / (1.0 + exponential(min(-g, vec4<f32>(80.0)))) * up[i];
    }
  }
}
