// Products of TILE_T tokens by 8 rows, of which each half of 64 invocations takes 4: what an invocation has is added up
// in workgroup memory.
const TILE_T: u32 = 1u;

var<workgroup> sums: array<vec4<f32>, (64u * TILE_T)>; // [TILE_T][invocations], of 4 rows each

// Adds the sums of each half's 32 invocations, by halves, to that of its first.
fn add_up(lane: u32) {
  for (var half = 16u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane % 32u < half) {
      // unroll r TILE_T {
      sums[64u * 0u /*r*/ + lane] += sums[64u * 0u /*r*/ + lane + half];
      // }
    }
  }
}
