// v times each of four columns.
fn dots(v: vec4<f32>, m: mat4x4<f32>) -> vec4<f32> {
  return vec4<f32>(dot(v, m[0]), dot(v, m[1]), dot(v, m[2]), dot(v, m[3]));
}
