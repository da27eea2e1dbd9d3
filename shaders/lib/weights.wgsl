import package::bfloat16::{widen};

const BF16: u32 = 0u; // 1: w holds bfloat16, 0: float32

@group(0) @binding(2) var<storage, read_write> w: array<vec2<u32>>; // [rows, K]

// Four values of w from element 4·i on.
fn weights(i: u32) -> vec4<f32> {
  if (BF16 == 1u) { return bitcast<vec4<f32>>(widen(w[i])); }
  return bitcast<vec4<f32>>(vec4<u32>(w[2u * i], w[2u * i + 1u]));
}

// The places in w of four rows from row n on, of which what lies beyond the last is that one.
fn rows4(n: u32, last_row: u32, cols4: u32) -> vec4<u32> {
  return min(vec4<u32>(n) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last_row)) * cols4;
}

// Four values of each of these rows, from column 4·k on.
fn weights4(rows: vec4<u32>, k: u32) -> mat4x4<f32> {
  return mat4x4<f32>(weights(rows.x + k), weights(rows.y + k), weights(rows.z + k), weights(rows.w + k));
}
