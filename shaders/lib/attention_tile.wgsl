// Attention by products of tiles, for GPUs: a workgroup takes 64 tokens of a query head and 32 keys at a time. Its 64
// invocations have the scores of 8 tokens by 4 keys each; for a head dimension above 128, whose sums would not stay in
// the registers of 64, they are 128 with 4 tokens by 4 keys. Slices of 16 columns of what pack_tiles_forward laid out
// go through workgroup memory; the scores stay in registers.

const LANES: u32 = 64u; // invocations of a workgroup
const QUADS: u32 = 2u;  // fours of tokens whose scores an invocation has, and rows of keys that it brings: 128 / LANES
const PIECES: u32 = 4u; // rows of tokens that it brings: 256 / LANES
const HEAD4: u32 = 8u; // D / 4, a multiple of 8
const NB: u32 = 1u;    // vec4 of a head's columns that an invocation owns
const RK: u32 = 1u;    // rows of slice that a row of a head takes: HEAD4 / 16, rounded up
const VK: u32 = 16u;   // rows of a head that slice holds: 16 / RK
const VL: u32 = 2u;    // vec4 of them that an invocation brings: VK·HEAD4 / LANES
const STEP: u32 = 16u; // columns of a slice, whose products stand one after another in the code
const FOUR: u32 = 4u;

@group(0) @binding(1) var<storage, read_write> packed_q: array<vec4<f32>>; // [T/64, 16·q16, 16]
@group(0) @binding(2) var<storage, read_write> packed_k: array<vec4<f32>>; // [S/64, 16·k16, 16]
// what weights multiply, as it lies: [T or S, heads, HEAD4]
@group(0) @binding(3) var<storage, read_write> rows: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> packed_v: array<vec4<f32>>; // as packed_k
@group(0) @binding(8) var<storage, read_write> packed_d_out: array<vec4<f32>>; // as packed_q

var<workgroup> slice: array<array<vec4<f32>, 16>, 16>; // [column][4 tokens each], then [row·RK][columns]
var<workgroup> keys: array<array<vec4<f32>, 8>, 16>;   // [column][4 keys each]

// Where 64 tokens of a head begin in packed_q, and in place_of_keys 32 keys in packed_k.
fn place_of_tokens(t0: u32, head: u32, q16: u32) -> u32 {
  return (t0 / 64u * 16u * q16 + head * 4u * HEAD4) * 16u;
}

fn place_of_keys(key0: u32, kv_head: u32, k16: u32) -> u32 {
  return (key0 / 64u * 16u * k16 + kv_head * 4u * HEAD4) * 16u + key0 % 64u / 4u;
}

// What an invocation brings of 16 columns: of the tokens and of the keys.
struct Piece {
  // unroll l PIECES {
  tokens_l0: vec4<f32>,
  // }
  // unroll m QUADS {
  keys_m0: vec4<f32>,
  // }
}

// The products of an invocation's tokens 4·(ty + 8·a) + i with its four keys.
struct Products {
  // unroll a QUADS {
  // unroll i FOUR {
  of_i0_a0: vec4<f32>,
  // }
  // }
}

// Adds the products of 16 columns.
fn multiply(sums: ptr<function, Products>, piece: Piece, lane: u32) {
  let tx = lane % 8u;
  let ty = lane / 8u;
  workgroupBarrier();
  // unroll l PIECES {
  slice[lane / 16u + LANES / 16u * 0u /*l*/][lane % 16u] = piece.tokens_l0;
  // }
  // unroll m QUADS {
  keys[lane / 8u + LANES / 8u * 0u /*m*/][lane % 8u] = piece.keys_m0;
  // }
  workgroupBarrier();
  // unroll k STEP {
  let key_k0 = keys[0u /*k*/][tx];
  // unroll a QUADS {
  let row_k0_a0 = slice[0u /*k*/][ty + 8u * 0u /*a*/];
  // unroll i FOUR {
  (*sums).of_i0_a0 += row_k0_a0[0u /*i*/] * key_k0;
  // }
  // }
  // }
}

// q·k of the tokens and keys that begin at these places, without the scale; in the same order wherever it is called.
fn scores(q_base: u32, k_base: u32, lane: u32) -> Products {
  var sums = Products();
  for (var d = 0u; d < 4u * HEAD4; d += 16u) {
    var piece: Piece;
    // unroll l PIECES {
    piece.tokens_l0 = packed_q[q_base + 16u * d + lane + LANES * 0u /*l*/];
    // }
    // unroll m QUADS {
    piece.keys_m0 = packed_k[k_base + 16u * (d + (lane + LANES * 0u /*m*/) / 8u) + lane % 8u];
    // }
    multiply(&sums, piece, lane);
  }
  return sums;
}

// do·v likewise: the gradients of the weights.
fn weight_gradients(q_base: u32, k_base: u32, lane: u32) -> Products {
  var sums = Products();
  for (var d = 0u; d < 4u * HEAD4; d += 16u) {
    var piece: Piece;
    // unroll l PIECES {
    piece.tokens_l0 = packed_d_out[q_base + 16u * d + lane + LANES * 0u /*l*/];
    // }
    // unroll m QUADS {
    piece.keys_m0 = packed_v[k_base + 16u * (d + (lane + LANES * 0u /*m*/) / 8u) + lane % 8u];
    // }
    multiply(&sums, piece, lane);
  }
  return sums;
}

// The weights of a token for four keys by their scores. Where a key is not seen it may be any.
fn weights_of(score: vec4<f32>, lse: f32, seen: vec4<bool>) -> vec4<f32> {
  return exp(select(vec4<f32>(-1e30), score - lse, seen));
}

// Brings VK rows of one of the heads, from row `first` on, of which those before `end` exist. A barrier stands before
// and behind it.
fn bring_rows(first: u32, end: u32, heads: u32, head: u32, lane: u32) {
  // unroll l VL {
  let row_l0 = (lane + LANES * 0u /*l*/) / HEAD4;
  let column_l0 = (lane + LANES * 0u /*l*/) % HEAD4;
  var v_l0 = vec4<f32>();
  if (first + row_l0 < end) { v_l0 = rows[((first + row_l0) * heads + head) * HEAD4 + column_l0]; }
  // }
  workgroupBarrier();
  // unroll l VL {
  slice[row_l0 * RK + column_l0 / 16u][column_l0 % 16u] = v_l0;
  // }
  workgroupBarrier();
}
