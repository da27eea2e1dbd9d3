import package::tanh::{tanh4};

const CAPPED: u32 = 0u; // 1: scores are cap·tanh(scale·q·k / cap), see soft_cap_forward

fn scores_of(products: vec4<f32>, scale: f32, cap: f32) -> vec4<f32> {
  if (CAPPED == 1u) { return cap * tanh4(products * scale / cap); }
  return products * scale;
}

// The derivative of a score by the product of its query and key.
fn slope_of(score: f32, scale: f32, cap: f32) -> f32 {
  if (CAPPED == 1u) { return scale * (1.0 - score / cap * (score / cap)); }
  return scale;
}

fn slopes_of(scores: vec4<f32>, scale: f32, cap: f32) -> vec4<f32> {
  if (CAPPED == 1u) { return scale * (vec4<f32>(1.0) - scores / cap * (scores / cap)); }
  return vec4<f32>(scale);
}
