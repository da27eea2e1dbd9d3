// The sums of dx = dy W in registers: of TILE_T tokens × TILE_W words of 8 columns, an invocation's.
const TILE_T: u32 = 1u;
const TILE_W: u32 = 1u; // 8·TILE_W columns lie in one block
const QUAD: u32 = 4u;   // rows of W for one vec4 of dy

// The sums of one word: of its low and of its high half.
struct Sums {
  // unroll r TILE_T {
  lo_r0: vec4<f32>,
  hi_r0: vec4<f32>,
  // }
}
