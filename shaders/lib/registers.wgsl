import package::products::{dots};

// The sums of y = x wᵀ in registers: of TILE_T tokens × TILE_Q groups of four rows of w, an invocation's.
const TILE_T: u32 = 1u;
const TILE_Q: u32 = 1u;

// Four columns of each token.
struct Tokens {
  // unroll r TILE_T {
  of_r0: vec4<f32>,
  // }
}

// The sums of one group of rows.
struct Sums {
  // unroll r TILE_T {
  of_r0: vec4<f32>,
  // }
}

// Adds the products of four columns; w has a row of the group in each of its columns.
fn add(sums: ptr<function, Sums>, x: Tokens, w: mat4x4<f32>) {
  // unroll r TILE_T {
  (*sums).of_r0 += dots(x.of_r0, w);
  // }
}
