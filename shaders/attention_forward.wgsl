

import package::entry::{group_of};
import package::attention::{ROWS, KEYS, Scores, Softmax, take};
import package::attention_rows::{params, rows_of};

const WIDTH: u32 = 32u;

@group(0) @binding(1) var<storage, read_write> q: array<vec4<f32>>; // [T, H*D/4]
@group(0) @binding(2) var<storage, read_write> k: array<vec4<f32>>; // [S, KVH*D/4]
@group(0) @binding(3) var<storage, read_write> v: array<vec4<f32>>; // [S, KVH*D/4]
@group(0) @binding(4) var<storage, read_write> first_key: array<u32>; // [T]
@group(0) @binding(5) var<storage, read_write> o: array<vec4<f32>>; // [T, H*D/4]
@group(0) @binding(6) var<storage, read_write> lse: array<f32>; // [T, H]

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let kv_head = group / params.row_groups;
  let row = (group % params.row_groups * WIDTH + lane) * ROWS;
  if (row >= params.rows) { return; }
  let own = rows_of(row, kv_head);
  var begin = own.end; // the first key that any of the rows sees
  var softmax = Softmax();
  // unroll r ROWS {
  let first_r0 = min(first_key[own.token_r0], own.last_r0);
  softmax.largest_r0 = -1e30;
  begin = min(begin, first_r0);
  // }
  for (var d = 0u; d < params.head_dim4; d++) {
    // unroll r ROWS {
    o[own.q_r0 + d] = vec4<f32>(0.0);
    // }
  }

  for (var key = begin; key <= own.end; key += KEYS) {
    var scores = Scores();
    // unroll c KEYS {
    let k_c0 = (min(key + 0u /*c*/, own.end) * params.kv_heads + kv_head) * params.head_dim4;
    // }
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll r ROWS {
      let query_r0 = q[own.q_r0 + d];
      // }
      // unroll c KEYS {
      let key_c0 = k[k_c0 + d];
      // unroll r ROWS {
      scores.of_r0_c0 += dot(query_r0, key_c0);
      // }
      // }
    }
    // unroll r ROWS {
    // unroll c KEYS {
    scores.seen_r0_c0 = (key + 0u /*c*/ >= first_r0) & (key + 0u /*c*/ <= own.last_r0);
    // }
    // }
    take(&softmax, &scores, params.scale);
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll c KEYS {
      let value_c0 = v[k_c0 + d];
      // }
      // unroll r ROWS {
      var out_r0 = o[own.q_r0 + d] * softmax.shrink_r0;
      // unroll c KEYS {
      out_r0 += softmax.weight_r0_c0 * value_c0;
      // }
      // }
      // Only then, since copies of the last row store to the same place.
      // unroll r ROWS {
      o[own.q_r0 + d] = out_r0;
      // }
    }
  }

  // unroll r ROWS {
  lse[own.head_r0] = softmax.largest_r0 + log(softmax.sum_r0);
  // }
  for (var d = 0u; d < params.head_dim4; d++) {
    // unroll r ROWS {
    let mean_r0 = o[own.q_r0 + d] / softmax.sum_r0;
    // }
    // unroll r ROWS {
    o[own.q_r0 + d] = mean_r0;
    // }
  }
}
