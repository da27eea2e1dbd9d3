// dq_t = scale * sum_j ds_j k_j, as in attention_backward_query, from uniform arrays.
//
// As in attention_forward_uniform: a dispatch takes one window of rows = t*G + g of one key/value head and one window
// of its keys, an invocation owns ROWS neighbouring rows and takes KEYS keys at a time, with the sum of dq in private
// arrays; from the second window of keys on it goes on from dq. All in f32; the weight of a masked key is an exact
// zero. The scores are summed in the forward's order, so that lse fits them. 6*D flops per query and key; 16*D*(2/KEYS
// + 3/ROWS) bytes from uniform arrays.

import package::entry::{group_of};
import package::attention::{ROWS, KEYS, Scores, scale_scores, weight_of};
import package::attention_cap::{slope_of};
import package::attention_rows_uniform::{params, rows_of};

const HEAD4: u32 = 64u; // D / 4

@group(0) @binding(1) var<uniform> q: array<vec4<f32>, 4096>; // [rows of the window, D/4]
@group(0) @binding(2) var<uniform> d_out: array<vec4<f32>, 4096>; // the same
@group(0) @binding(3) var<uniform> k: array<vec4<f32>, 4096>; // [keys of the window, D/4]
@group(0) @binding(4) var<uniform> v: array<vec4<f32>, 4096>; // the same
@group(0) @binding(5) var<storage, read_write> stats: array<vec2<f32>>; // [T, H]
@group(0) @binding(6) var<storage, read_write> first_key: array<u32>; // [T]
@group(0) @binding(7) var<storage, read_write> dq: array<vec4<f32>>; // [T, H*D/4]

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let row = params.first_row + (group * 8u + lane) * ROWS;
  if (row >= params.end_row) { return; }
  let own = rows_of(row);
  var begin = own.end; // the first key of the window that any of the rows sees
  // unroll r ROWS {
  let first_r0 = max(min(first_key[own.token_r0], own.last_r0), params.first_key);
  let dq_r0 = own.head_r0 * params.head_dim4;
  let stats_r0 = stats[own.head_r0];
  var sum_r0: array<vec4<f32>, HEAD4>;
  begin = min(begin, first_r0);
  // }
  if (params.resume == 1u) {
    if (begin >= own.end) { return; }
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll r ROWS {
      sum_r0[d] = dq[dq_r0 + d];
      // }
    }
  }

  for (var key = begin; key < own.end; key += KEYS) {
    var scores = Scores();
    // unroll c KEYS {
    let k_c0 = (min(key + 0u /*c*/, own.end - 1u) - params.first_key) * params.head_dim4;
    // unroll r ROWS {
    var dp_r0_c0 = 0.0;
    // }
    // }
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll r ROWS {
      let query_r0 = q[own.q_r0 + d];
      let dout_r0 = d_out[own.q_r0 + d];
      // }
      // unroll c KEYS {
      let key_c0 = k[k_c0 + d];
      let value_c0 = v[k_c0 + d];
      // unroll r ROWS {
      scores.of_r0_c0 += dot(query_r0, key_c0);
      dp_r0_c0 += dot(dout_r0, value_c0);
      // }
      // }
    }
    scale_scores(&scores, params.scale, params.cap);
    // unroll r ROWS {
    // unroll c KEYS {
    let seen_r0_c0 = (key + 0u /*c*/ >= first_r0) & (key + 0u /*c*/ <= own.last_r0) & (key + 0u /*c*/ < own.end);
    let p_r0_c0 = weight_of(scores.of_r0_c0, stats_r0.x, seen_r0_c0);
    let ds_r0_c0 = select(0.0, slope_of(scores.of_r0_c0, params.scale, params.cap) * p_r0_c0 * (dp_r0_c0 - stats_r0.y), seen_r0_c0);
    // }
    // }
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll r ROWS {
      var next_r0 = sum_r0[d];
      // }
      // unroll c KEYS {
      let key_c0 = k[k_c0 + d];
      // unroll r ROWS {
      next_r0 += ds_r0_c0 * key_c0;
      // }
      // }
      // unroll r ROWS {
      sum_r0[d] = next_r0;
      // }
    }
  }

  for (var d = 0u; d < params.head_dim4; d++) {
    // unroll r ROWS {
    dq[dq_r0 + d] = sum_r0[d];
    // }
  }
}
