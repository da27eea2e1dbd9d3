// Four bfloat16, the lower index in the low half of a word, as the bits of four float32, of which each is the upper
// half: widening is exact.
fn widen(pairs: vec2<u32>) -> vec4<u32> {
  return vec4<u32>(pairs.x << 16u, pairs.x & 0xffff0000u, pairs.y << 16u, pairs.y & 0xffff0000u);
}
