// exp to 1e-7 relative for x <= 88, 0 below -87.
// The built-in may be off by 3 + 2|x| units in the last place, which gradients of a whole model show.
fn exponential(x: vec4<f32>) -> vec4<f32> {
  let v = max(x, vec4<f32>(-87.0));
  let n = round(v * 1.4426950408889634);
  let r = (v - n * 0.693359375) + n * 2.12194440e-4; // v - n ln 2, ln 2 in two parts
  var p = r * (1.0 / 5040.0) + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r * r + r + 1.0;
  let power = bitcast<vec4<f32>>(vec4<u32>(vec4<i32>(n) + 127) << vec4<u32>(23u));
  return select(p * power, vec4<f32>(), x < vec4<f32>(-87.0));
}
