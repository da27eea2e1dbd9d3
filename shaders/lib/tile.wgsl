// The product of a tile: both operands in workgroup memory, 16 steps of the sum at a time, the sums in registers.

const TX: u32 = 8u;     // invocations along the outputs
const TY: u32 = 8u;     // and along the tokens
const LANES: u32 = 64u; // TX·TY
const ROWS4: u32 = 1u;  // vec4 of tokens an invocation owns
const COLS4: u32 = 1u;  // vec4 of outputs an invocation owns
const XR: u32 = 8u;     // TY·ROWS4
const WR: u32 = 8u;     // TX·COLS4
const XB: u32 = 2u;     // vec4 of tokens that an invocation brings in a step, of 16·XR
const STEP: u32 = 16u;  // steps whose products stand one after another in the code

var<workgroup> xs: array<array<vec4<f32>, XR>, 16>; // [step][4 tokens each]
var<workgroup> ws: array<array<vec4<f32>, WR>, 16>; // [step][4 outputs each]

// The sums of an invocation: of vec4 a of its tokens, and vec4 b of its outputs.
struct Sums {
  // unroll a ROWS4 {
  // unroll b COLS4 {
  of0_a0_b0: vec4<f32>,
  of1_a0_b0: vec4<f32>,
  of2_a0_b0: vec4<f32>,
  of3_a0_b0: vec4<f32>,
  // }
  // }
}

// What a workgroup owns: of which part of the sum, and the numbers of its tile along the tokens and along the outputs.
struct Place {
  part: u32,
  tokens: u32,
  outputs: u32,
}

fn place_of(group: u32, part_tiles: u32, output_tiles: u32) -> Place {
  let tile = group % part_tiles;
  return Place(group / part_tiles, tile / output_tiles, tile % output_tiles);
}

// Where pack_tiles_forward laid what an invocation brings of a tile of tokens in the first step: vec4 lane + LANES·i of
// 16·XR. `first` is where the sum begins.
struct Packed {
  // unroll i XB {
  at_i0: u32,
  // }
}

fn packed_of(tile: u32, padded16: u32, first: u32, lane: u32) -> Packed {
  var packed: Packed;
  // unroll i XB {
  let i_i0 = lane + 0u /*i*/ * LANES;
  let q_i0 = tile * XR + i_i0 % XR;
  packed.at_i0 = (q_i0 / 16u * 16u * padded16 + first + i_i0 / XR) * 16u + q_i0 % 16u;
  // }
  return packed;
}

// What an invocation brings in a step.
struct Piece {
  // unroll i XB {
  of_i0: vec4<f32>,
  // }
}

fn bring(piece: Piece, lane: u32) {
  // unroll i XB {
  let at_i0 = lane + 0u /*i*/ * LANES;
  xs[at_i0 / XR][at_i0 % XR] = piece.of_i0;
  // }
}

// Where ws has its first outputs at steps 4·k4 to 4·k4 + 3. With a turn of 2 they are swapped from four steps to four,
// so that neighbouring invocations which each bring 4 × 4 elements write to different banks; with 0 they lie as they
// are.
fn turned(k4: u32, turn: u32) -> u32 {
  return (turn * k4) & (WR - 1u);
}

// Puts 4 × 4 elements there, turned by 2: four outputs at each of steps 4·k4 to 4·k4 + 3.
fn bring_block(block: mat4x4<f32>, outputs: u32, k4: u32) {
  let to = outputs ^ turned(k4, 2u);
  ws[4u * k4][to] = block[0];
  ws[4u * k4 + 1u][to] = block[1];
  ws[4u * k4 + 2u][to] = block[2];
  ws[4u * k4 + 3u][to] = block[3];
}

// Adds the products of 16 steps.
fn multiply(sums: ptr<function, Sums>, tx: u32, ty: u32, turn: u32) {
  // unroll k STEP {
  // unroll a ROWS4 {
  let x_k0_a0 = xs[0u /*k*/][ty + 0u /*a*/ * TY];
  // }
  // unroll b COLS4 {
  let w_k0_b0 = ws[0u /*k*/][(tx + 0u /*b*/ * TX) ^ turned(0u /*k*/ / 4u, turn)];
  // }
  // unroll a ROWS4 {
  // unroll b COLS4 {
  (*sums).of0_a0_b0 += x_k0_a0.x * w_k0_b0;
  (*sums).of1_a0_b0 += x_k0_a0.y * w_k0_b0;
  (*sums).of2_a0_b0 += x_k0_a0.z * w_k0_b0;
  (*sums).of3_a0_b0 += x_k0_a0.w * w_k0_b0;
  // }
  // }
  // }
}
