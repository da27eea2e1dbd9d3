import package::exponential::{exponential};

const GELU: u32 = 0u; // 1: in the place of SiLU

struct Activation {
  value: vec4<f32>,
  slope: vec4<f32>, // its derivative
}

// g/2·(1 + tanh z) with z = sqrt(2/pi)·(g + 0.044715·g³). tanh as 1 - 2/(1 + exp(2z)) is off by 6e-8 of 1, which is
// what 1 + tanh is off by anyway.
fn gelu(g: vec4<f32>) -> Activation {
  let square = g * g;
  let z = 0.7978845608028654 * g * (1.0 + 0.044715 * square);
  let t = 1.0 - 2.0 / (1.0 + exponential(min(2.0 * z, vec4<f32>(80.0))));
  let half = 0.5 * (1.0 + t);
  return Activation(g * half, half + 0.5 * g * (1.0 - t * t) * 0.7978845608028654 * (1.0 + 0.134145 * square));
}
