import package::weights::{weights};

// The sums of dx = dy w in registers: TILE_T tokens × TILE_K vec4 of columns, four rows of w at a time.
const TILE_T: u32 = 1u;
const TILE_K: u32 = 1u; // vec4 of columns, 32 columns apart
const QUAD: u32 = 4u;   // rows of w for one vec4 of dy
const PART: u32 = 256u; // rows of w in a partial sum

struct Sums {
  // unroll r TILE_T {
  // unroll c TILE_K {
  of_r0_c0: vec4<f32>,
  // }
  // }
}

// Four rows of dy.
struct Rows {
  // unroll r TILE_T {
  of_r0: vec4<f32>,
  // }
}

struct Columns {
  // unroll c TILE_K {
  at_c0: u32,
  // }
}

// The columns of an invocation; beyond the last it is that one.
fn columns_of(k0: u32, cols4: u32) -> Columns {
  var columns: Columns;
  // unroll c TILE_K {
  columns.at_c0 = min(k0 + 8u * 0u /*c*/, cols4 - 1u);
  // }
  return columns;
}

// Adds the products of rows n to n + 3.
fn add_rows(sums: ptr<function, Sums>, dy: Rows, n: u32, columns: Columns, cols4: u32) {
  // unroll j QUAD {
  // unroll c TILE_K {
  let w_j0_c0 = weights((n + 0u /*j*/) * cols4 + columns.at_c0);
  // unroll r TILE_T {
  (*sums).of_r0_c0 += dy.of_r0[0u /*j*/] * w_j0_c0;
  // }
  // }
  // }
}

// Adds a partial sum.
fn add_part(sums: ptr<function, Sums>, part: ptr<function, Sums>, alpha: f32) {
  // unroll r TILE_T {
  // unroll c TILE_K {
  (*sums).of_r0_c0 += alpha * (*part).of_r0_c0;
  // }
  // }
}
