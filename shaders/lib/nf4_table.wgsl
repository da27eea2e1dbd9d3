import package::nf4::{region};

// The codebook in workgroup memory, for GPUs: 16 invocations bring it, and a barrier has to follow.
var<workgroup> codebook: array<f32, 16>;

fn bring_codebook(lane: u32) {
  if (lane < 16u) { codebook[lane] = bitcast<f32>(region[256u + lane]); }
}

// Four codes of the low half of a word: the first element of a byte is its high nibble.
fn decode(half: u32) -> vec4<f32> {
  return vec4<f32>(codebook[(half >> 4u) & 15u], codebook[half & 15u], codebook[(half >> 12u) & 15u], codebook[(half >> 8u) & 15u]);
}

// The code of each of four words at the bits from shift on.
fn decode4(words: vec4<u32>, shift: u32) -> vec4<f32> {
  let i = (words >> vec4<u32>(shift)) & vec4<u32>(15u);
  return vec4<f32>(codebook[i.x], codebook[i.y], codebook[i.z], codebook[i.w]);
}
