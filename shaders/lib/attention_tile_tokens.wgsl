import package::attention_tile::{NB, RK, VK, QUADS, FOUR, slice, place_of_tokens, bring_rows};

// Params of the kernels whose workgroup owns 64 tokens of a query head and walks the keys.
struct Params {
  group_base: u32,
  group_end: u32,
  blocks: u32, // T / 64, rounded up
  tokens: u32, // T
  heads: u32, // H
  kv_heads: u32, // KVH
  q16: u32, // H·D / 16, rounded up: columns of packed q
  k16: u32, // KVH·D / 16, rounded up
  query_offset: u32, // query t sits at key t + query_offset
  scale: f32,
  cap: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read_write> first_key: array<u32>; // [T]

// What a workgroup owns.
struct Tile {
  head: u32,
  kv_head: u32,
  t0: u32,
  last: u32, // token of all
  end: u32, // the last key that any of the tokens sees
  q_base: u32,
}

var<workgroup> begin: u32; // the first key that any of the tokens sees

fn tile_of(group: u32) -> Tile {
  let head = group / params.blocks;
  let t0 = (params.blocks - 1u - group % params.blocks) * 64u; // those with most keys first
  let last = params.tokens - 1u;
  let end = min(t0 + 63u, last) + params.query_offset;
  return Tile(head, head / (params.heads / params.kv_heads), t0, last, end, place_of_tokens(t0, head, params.q16));
}

// That key; it does not fall from token to token.
fn begin_of(tile: Tile, lane: u32) -> u32 {
  if (lane == 0u) { begin = first_key[tile.t0]; }
  return workgroupUniformLoad(&begin);
}

// The sums of an invocation: of token 4·(ty + 8·a) + i, and its vec4 b of columns.
struct Sums {
  // unroll a QUADS {
  // unroll b NB {
  // unroll i FOUR {
  of_i0_a0_b0: vec4<f32>,
  // }
  // }
  // }
}

// What the rows of slice are multiplied with: [key][4 tokens each]. The tokens are swapped by key, so that neighbouring
// invocations write to different banks.
var<workgroup> weights: array<array<vec4<f32>, 16>, 32>;

// Puts there those of tokens 4·q to 4·q + 3 for the invocation's four keys.
fn put_weights(q: u32, tx: u32, w: mat4x4<f32>) {
  weights[4u * tx + 0u][q ^ tx] = vec4<f32>(w[0].x, w[1].x, w[2].x, w[3].x);
  weights[4u * tx + 1u][q ^ tx] = vec4<f32>(w[0].y, w[1].y, w[2].y, w[3].y);
  weights[4u * tx + 2u][q ^ tx] = vec4<f32>(w[0].z, w[1].z, w[2].z, w[3].z);
  weights[4u * tx + 3u][q ^ tx] = vec4<f32>(w[0].w, w[1].w, w[2].w, w[3].w);
}

// Adds the rows of 32 keys by their weights.
fn add_weighted(sums: ptr<function, Sums>, tile: Tile, key0: u32, lane: u32) {
  for (var part = 0u; part < 32u; part += VK) {
    bring_rows(key0 + part, tile.end + 1u, params.kv_heads, tile.kv_head, lane);
    add_slice(sums, part, lane % 8u, lane / 8u);
  }
}

fn add_slice(sums: ptr<function, Sums>, part: u32, tx: u32, ty: u32) {
  // unroll k VK {
  // unroll b NB {
  let row_k0_b0 = slice[0u /*k*/ * RK + 0u /*b*/ / 2u][tx + 8u * (0u /*b*/ % 2u)];
  // }
  // unroll a QUADS {
  let w_k0_a0 = weights[part + 0u /*k*/][(ty + 8u * 0u /*a*/) ^ ((part + 0u /*k*/) / 4u)];
  // unroll b NB {
  // unroll i FOUR {
  (*sums).of_i0_a0_b0 += w_k0_a0[0u /*i*/] * row_k0_b0;
  // }
  // }
  // }
  // }
}
