import package::exponential::{exponential};

// tanh to 2e-7 of its value: by exp, or by its series where that would cancel. The built-in may be off by more.
fn tanh4(x: vec4<f32>) -> vec4<f32> {
  let e = exponential(min(-2.0 * abs(x), vec4<f32>(0.0)));
  let far = sign(x) * (1.0 - e) / (1.0 + e);
  let q = x * x;
  let near = x * (1.0 + q * (-1.0 / 3.0 + q * (2.0 / 15.0 + q * (-17.0 / 315.0 + q * (62.0 / 2835.0)))));
  return select(far, near, abs(x) < vec4<f32>(0.3));
}
