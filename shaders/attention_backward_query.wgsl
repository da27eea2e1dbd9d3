// dq_t = scale * sum_j ds_j k_j over the keys j from first_key[t] to t+query_offset, per query head, with p_j =
// exp(scale * q_t.k_j - lse_t) and ds_j = p_j * (do_t.v_j - delta_t). q, do, dq [T, H*D], k, v [S, KVH*D], stats [T, H]
// of (lse, delta).
//
// As in attention_forward: an invocation owns ROWS neighbouring rows = t*G + g of one key/value head and takes KEYS
// keys at a time, the ROWS × KEYS scores and their gradients in named registers, the running sum in dq; a workgroup is
// WIDTH invocations. All in f32; the weight of a masked key is an exact zero. The scores are summed in the forward's
// order, so that lse fits them. 6*D flops per query and key; 16*D*(4/ROWS + 3/KEYS) bytes through the caches.

import package::entry::{group_of};
import package::attention::{ROWS, KEYS, Scores, weight_of};
import package::attention_cap::{slope_of};
import package::attention_rows::{params, rows_of};
import package::attention_gradients::{k, Places, products};

const WIDTH: u32 = 32u;

@group(0) @binding(5) var<storage, read_write> stats: array<vec2<f32>>; // [T, H]
@group(0) @binding(6) var<storage, read_write> first_key: array<u32>; // [T]
@group(0) @binding(7) var<storage, read_write> dq: array<vec4<f32>>; // [T, H*D/4]

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let kv_head = group / params.row_groups;
  let row = (group % params.row_groups * WIDTH + lane) * ROWS;
  if (row >= params.rows) { return; }
  let own = rows_of(row, kv_head);
  var begin = own.end; // the first key that any of the rows sees
  var at: Places;
  // unroll r ROWS {
  let first_r0 = min(first_key[own.token_r0], own.last_r0);
  let stats_r0 = stats[own.head_r0];
  at.row_r0 = own.q_r0;
  begin = min(begin, first_r0);
  // }
  for (var d = 0u; d < params.head_dim4; d++) {
    // unroll r ROWS {
    dq[at.row_r0 + d] = vec4<f32>(0.0);
    // }
  }

  for (var key = begin; key <= own.end; key += KEYS) {
    // unroll c KEYS {
    at.key_c0 = (min(key + 0u /*c*/, own.end) * params.kv_heads + kv_head) * params.head_dim4;
    // }
    var scores: Scores;
    let dp = products(&scores, at, params.head_dim4, params.scale, params.cap);
    // unroll r ROWS {
    // unroll c KEYS {
    let seen_r0_c0 = (key + 0u /*c*/ >= first_r0) & (key + 0u /*c*/ <= own.last_r0);
    let p_r0_c0 = weight_of(scores.of_r0_c0, stats_r0.x, seen_r0_c0);
    let ds_r0_c0 = select(0.0, slope_of(scores.of_r0_c0, params.scale, params.cap) * p_r0_c0 * (dp.of_r0_c0 - stats_r0.y), seen_r0_c0);
    // }
    // }
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll c KEYS {
      let key_c0 = k[at.key_c0 + d];
      // }
      // unroll r ROWS {
      var out_r0 = dq[at.row_r0 + d];
      // unroll c KEYS {
      out_r0 += ds_r0_c0 * key_c0;
      // }
      // }
      // Only then, since copies of the last row store to the same place.
      // unroll r ROWS {
      dq[at.row_r0 + d] = out_r0;
      // }
    }
  }
}
