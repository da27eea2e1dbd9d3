// dk_j = scale * sum ds q_t and dv_j = sum p do_t, over the queries t from j to last_query[j]-1 and the query heads of
// the key/value head, with p = exp(scale * q_t.k_j - lse_t) and ds = p * (do_t.v_j - delta_t). q, do [T, H*D], k, v,
// dk, dv [S, KVH*D], stats [T, H] of (lse, delta). Queries may be a chunk of the tokens, from first_query on; then dk
// and dv are added to by one chunk after another, in the same order as at once.
//
// The mirror of attention_backward_query: an invocation owns KEYS neighbouring keys of one key/value head and takes
// ROWS rows = t*G + g at a time, so the heads of a group are summed without atomics; the running sums stay in dk and
// dv. A workgroup is WIDTH invocations. All in f32; the weight of a masked query is an exact zero. The scores are
// summed in the forward's order, so that lse fits them. 8*D flops per query and key; 16*D*(6/ROWS + 4/KEYS) bytes
// through the caches.

import package::entry::{group_of};
import package::attention::{ROWS, KEYS, Scores, weight_of};
import package::attention_cap::{slope_of};
import package::attention_gradients::{q, d_out, Places, products};

const WIDTH: u32 = 32u;

struct Params {
  group_base: u32,
  group_end: u32,
  key_groups: u32, // workgroups per key/value head
  tokens: u32, // S
  first_query: u32, // the token of query 0
  queries: u32, // T
  accumulate: u32, // 0: dk and dv are zeroed first
  heads: u32, // H
  kv_heads: u32, // KVH
  head_dim4: u32, // D / 4
  scale: f32,
  cap: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(5) var<storage, read_write> stats: array<vec2<f32>>; // [T, H]
@group(0) @binding(6) var<storage, read_write> last_query: array<u32>; // [S]
@group(0) @binding(7) var<storage, read_write> dk: array<vec4<f32>>; // [S, KVH*D/4]
@group(0) @binding(8) var<storage, read_write> dv: array<vec4<f32>>; // [S, KVH*D/4]

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let kv_head = group / params.key_groups;
  let key = (group % params.key_groups * WIDTH + lane) * KEYS;
  if (key >= params.tokens) { return; }
  let group_heads = params.heads / params.kv_heads;

  var at: Places;
  var last = 0u; // one past the last query that sees any of the keys
  // unroll c KEYS {
  let key_c0 = min(key + 0u /*c*/, params.tokens - 1u); // beyond the last: a copy of it, which stores the same values
  let last_c0 = min(last_query[key_c0], params.first_query + params.queries);
  at.key_c0 = (key_c0 * params.kv_heads + kv_head) * params.head_dim4;
  last = max(last, last_c0);
  // }
  for (var d = 0u; d < params.head_dim4 * (1u - params.accumulate); d++) {
    // unroll c KEYS {
    dk[at.key_c0 + d] = vec4<f32>(0.0);
    dv[at.key_c0 + d] = vec4<f32>(0.0);
    // }
  }

  for (var row = max(key, params.first_query) * group_heads; row < last * group_heads; row += ROWS) {
    // unroll r ROWS {
    let t_r0 = (row + 0u /*r*/) / group_heads; // last or more beyond the last row: no key is seen from there
    let token_r0 = min(t_r0, last - 1u) - params.first_query;
    let head_r0 = token_r0 * params.heads + kv_head * group_heads + (row + 0u /*r*/) % group_heads; // in [T, H]
    at.row_r0 = head_r0 * params.head_dim4;
    let stats_r0 = stats[head_r0];
    // }
    var scores: Scores;
    let dp = products(&scores, at, params.head_dim4, params.scale, params.cap);
    // unroll r ROWS {
    // unroll c KEYS {
    let seen_r0_c0 = (t_r0 >= key_c0) & (t_r0 < last_c0);
    let p_r0_c0 = select(0.0, weight_of(scores.of_r0_c0, stats_r0.x, seen_r0_c0), seen_r0_c0);
    let ds_r0_c0 = select(0.0, slope_of(scores.of_r0_c0, params.scale, params.cap) * p_r0_c0 * (dp.of_r0_c0 - stats_r0.y), seen_r0_c0);
    // }
    // }
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll r ROWS {
      let query_r0 = q[at.row_r0 + d];
      let dout_r0 = d_out[at.row_r0 + d];
      // }
      // unroll c KEYS {
      var sumk_c0 = dk[at.key_c0 + d];
      var sumv_c0 = dv[at.key_c0 + d];
      // unroll r ROWS {
      sumk_c0 += ds_r0_c0 * query_r0;
      sumv_c0 += p_r0_c0 * dout_r0;
      // }
      // }
      // unroll c KEYS {
      dk[at.key_c0 + d] = sumk_c0;
      dv[at.key_c0 + d] = sumv_c0;
      // }
    }
  }
}
