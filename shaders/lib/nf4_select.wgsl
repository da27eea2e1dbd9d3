// The codebook as constants, for devices on which a load costs more than arithmetic.
fn pick(a: u32, b: u32, mask: vec4<u32>) -> vec4<u32> {
  return vec4<u32>(a) ^ (vec4<u32>(a ^ b) & mask);
}

fn mix4(a: vec4<u32>, b: vec4<u32>, mask: vec4<u32>) -> vec4<u32> {
  return a ^ ((a ^ b) & mask);
}

// Four codes of the low half of a word: the first element of a byte is its high nibble.
// Four levels of selection on the bits of the codebook.
fn decode(half: u32) -> vec4<f32> {
  let s = vec4<u32>(half) << vec4<u32>(24u, 28u, 16u, 20u);
  let m0 = vec4<u32>(vec4<i32>(s << vec4<u32>(3u)) >> vec4<u32>(31u));
  let m1 = vec4<u32>(vec4<i32>(s << vec4<u32>(2u)) >> vec4<u32>(31u));
  let m2 = vec4<u32>(vec4<i32>(s << vec4<u32>(1u)) >> vec4<u32>(31u));
  let m3 = vec4<u32>(vec4<i32>(s) >> vec4<u32>(31u));
  let q0 = mix4(pick(0xbf800000u, 0xbf3239b1u, m0), pick(0xbf066b30u, 0xbeca32a0u, m0), m1);
  let q1 = mix4(pick(0xbe91a24du, 0xbe3d353fu, m0), pick(0xbdba7871u, 0x00000000u, m0), m1);
  let q2 = mix4(pick(0x3da2faffu, 0x3e24cae3u, m0), pick(0x3e7c04ddu, 0x3ead033au, m0), m1);
  let q3 = mix4(pick(0x3ee1a4b8u, 0x3f1007abu, m0), pick(0x3f3913b3u, 0x3f800000u, m0), m1);
  return bitcast<vec4<f32>>(mix4(mix4(q0, q1, m2), mix4(q2, q3, m2), m3));
}
