import package::attention_tile::{HEAD4, NB, RK, VK, FOUR, slice, place_of_keys, bring_rows};

// Params of the kernels whose workgroup owns 32 keys of a key/value head and walks the queries of its heads.
struct Params {
  group_base: u32,
  group_end: u32,
  key_groups: u32, // workgroups per key/value head
  tokens: u32, // S
  first_query: u32, // the token of query 0
  queries: u32, // T
  accumulate: u32, // 1: +=
  heads: u32, // H
  kv_heads: u32, // KVH
  q16: u32, // H·D / 16, rounded up: columns of packed q
  k16: u32, // KVH·D / 16, rounded up
  scale: f32,
  cap: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read_write> stats: array<vec2<f32>>; // [T, H]
@group(0) @binding(5) var<storage, read_write> last_query: array<u32>; // [S]
@group(0) @binding(6) var<storage, read_write> d_keys: array<vec4<f32>>; // dk or dv [S, KVH*D/4]

// What a workgroup owns.
struct Tile {
  kv_head: u32,
  key0: u32,
  k_base: u32,
  t0: u32,  // the first of the 64 queries with which it begins
  group_heads: u32,
}

fn tile_of(group: u32) -> Tile {
  let kv_head = group / params.key_groups;
  let key0 = group % params.key_groups * 32u;
  let t0 = (max(key0, params.first_query) - params.first_query) / 64u * 64u;
  return Tile(kv_head, key0, place_of_keys(key0, kv_head, params.k16), t0, params.heads / params.kv_heads);
}

var<workgroup> last: u32; // one past the last query that sees any of the keys

// That query, one past which it is of key i, but none behind the last of all.
fn end_of(i: u32) -> u32 {
  return min(last_query[min(i, params.tokens - 1u)], params.first_query + params.queries);
}

// The end of the workgroup's queries: it does not fall from key to key.
fn past_of(tile: Tile, lane: u32) -> u32 {
  if (lane == 0u) { last = end_of(tile.key0 + 31u); }
  return workgroupUniformLoad(&last);
}

// The four keys whose scores an invocation has, and where their queries end.
struct Keys {
  at: vec4<u32>,
  end: vec4<u32>,
}

fn keys_of(tile: Tile, lane: u32) -> Keys {
  let at = vec4<u32>(tile.key0 + 4u * (lane % 8u)) + vec4<u32>(0u, 1u, 2u, 3u);
  return Keys(at, vec4<u32>(end_of(at.x), end_of(at.y), end_of(at.z), end_of(at.w)));
}

// Which of them the query of token t sees.
fn seen_by(t: u32, own: Keys) -> vec4<bool> {
  return (own.at <= vec4<u32>(t)) & (vec4<u32>(t) < own.end);
}

// (lse, delta) of query t; beyond the last it is that one's.
fn stats_of(t: u32, head: u32) -> vec2<f32> {
  return stats[min(t, params.queries - 1u) * params.heads + head];
}

// The sums of an invocation: of key 4·y + i, and its vec4 b of columns.
struct Sums {
  // unroll b NB {
  // unroll i FOUR {
  of_i0_b0: vec4<f32>,
  // }
  // }
}

// Where an invocation's sums stand: which four keys, and which of the columns that follow one another.
struct Place {
  x: u32,
  y: u32,
}

const WIDE: u32 = HEAD4 / NB; // columns from one of its own to the next

fn place_of(lane: u32) -> Place { return Place(lane % WIDE, lane / WIDE); }

// What chunks of queries before have left, or zero.
fn load(tile: Tile, lane: u32) -> Sums {
  var sums = Sums();
  if (params.accumulate == 1u) {
    let own = place_of(lane);
    // unroll i FOUR {
    let key_i0 = tile.key0 + 4u * own.y + 0u /*i*/;
    if (key_i0 < params.tokens) {
      // unroll b NB {
      sums.of_i0_b0 = d_keys[(key_i0 * params.kv_heads + tile.kv_head) * HEAD4 + own.x + WIDE * 0u /*b*/];
      // }
    }
    // }
  }
  return sums;
}

fn store(sums: ptr<function, Sums>, tile: Tile, lane: u32) {
  let own = place_of(lane);
  // unroll i FOUR {
  let key_i0 = tile.key0 + 4u * own.y + 0u /*i*/;
  if (key_i0 < params.tokens) {
    // unroll b NB {
    d_keys[(key_i0 * params.kv_heads + tile.kv_head) * HEAD4 + own.x + WIDE * 0u /*b*/] = (*sums).of_i0_b0;
    // }
  }
  // }
}

// What rows are multiplied with: [token][4 keys each].
var<workgroup> weights: array<array<vec4<f32>, 8>, 64>;

// Adds the rows of 64 queries by their weights.
fn add_weighted(sums: ptr<function, Sums>, t0: u32, head: u32, lane: u32) {
  for (var part = 0u; part < 64u; part += VK) {
    bring_rows(t0 + part, params.queries, params.heads, head, lane);
    add_slice(sums, part, place_of(lane));
  }
}

fn add_slice(sums: ptr<function, Sums>, part: u32, own: Place) {
  // unroll k VK {
  let w_k0 = weights[part + 0u /*k*/][own.y];
  // unroll b NB {
  let row_k0_b0 = slice[0u /*k*/ * RK + WIDE * 0u /*b*/ / 16u][own.x + WIDE * 0u /*b*/ % 16u];
  // unroll i FOUR {
  (*sums).of_i0_b0 += w_k0[0u /*i*/] * row_k0_b0;
  // }
  // }
  // }
}
