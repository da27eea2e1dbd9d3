// Causal attention with grouped key/value heads over packed segments, as in attention_forward, from uniform arrays.
//
// The variant for CPU devices whose storage loads are slow: a dispatch takes one window of rows = t*G + g of one
// key/value head and one window of its keys (see pack_heads_forward). An invocation owns ROWS neighbouring rows and
// takes KEYS keys at a time; the ROWS × KEYS scores are in named registers, the output in private arrays. From the
// second window of keys on, it starts from what the one before left in o and lse: softmax's sum is then 1 at a largest
// score of lse. All in f32; a masked score is -1e30 and its weight an exact zero. 4*D flops per query and key;
// 16*D*(1/KEYS + 2/ROWS) bytes from uniform arrays.

import package::entry::{group_of};
import package::attention::{ROWS, KEYS, Scores, Softmax, take};
import package::attention_rows_uniform::{params, rows_of};

// D / 4; the loops over it have a bound that is not constant, for compilers of CPU devices would unroll them
const HEAD4: u32 = 64u;

@group(0) @binding(1) var<uniform> q: array<vec4<f32>, 4096>; // [rows of the window, D/4]
@group(0) @binding(2) var<uniform> k: array<vec4<f32>, 4096>; // [keys of the window, D/4]
@group(0) @binding(3) var<uniform> v: array<vec4<f32>, 4096>; // the same
@group(0) @binding(4) var<storage, read_write> first_key: array<u32>; // [T]
@group(0) @binding(5) var<storage, read_write> o: array<vec4<f32>>; // [T, H*D/4]
@group(0) @binding(6) var<storage, read_write> lse: array<f32>; // [T, H]

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let row = params.first_row + (group * 8u + lane) * ROWS;
  if (row >= params.end_row) { return; }
  let own = rows_of(row);
  var begin = own.end; // the first key of the window that any of the rows sees
  var softmax = Softmax();
  // unroll r ROWS {
  let first_r0 = max(min(first_key[own.token_r0], own.last_r0), params.first_key);
  let o_r0 = own.head_r0 * params.head_dim4;
  var out_r0: array<vec4<f32>, HEAD4>;
  softmax.largest_r0 = -1e30;
  begin = min(begin, first_r0);
  // }
  if (params.resume == 1u) {
    if (begin >= own.end) { return; }
    // unroll r ROWS {
    softmax.largest_r0 = lse[own.head_r0];
    softmax.sum_r0 = 1.0;
    // }
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll r ROWS {
      out_r0[d] = o[o_r0 + d];
      // }
    }
  }

  for (var key = begin; key < own.end; key += KEYS) {
    var scores = Scores();
    // unroll c KEYS {
    let k_c0 = (min(key + 0u /*c*/, own.end - 1u) - params.first_key) * params.head_dim4;
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
    scores.seen_r0_c0 = (key + 0u /*c*/ >= first_r0) & (key + 0u /*c*/ <= own.last_r0) & (key + 0u /*c*/ < own.end);
    // }
    // }
    take(&softmax, &scores, params.scale, params.cap);
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll r ROWS {
      var o_next_r0 = out_r0[d] * softmax.shrink_r0;
      // }
      // unroll c KEYS {
      let value_c0 = v[k_c0 + d];
      // unroll r ROWS {
      o_next_r0 += softmax.weight_r0_c0 * value_c0;
      // }
      // }
      // unroll r ROWS {
      out_r0[d] = o_next_r0;
      // }
    }
  }

  // A row that sees no key yet has a sum of 0: it leaves zeros and a score that the next window's exceed.
  // unroll r ROWS {
  let norm_r0 = select(1.0, softmax.sum_r0, softmax.sum_r0 > 0.0);
  lse[own.head_r0] = softmax.largest_r0 + log(norm_r0);
  // }
  for (var d = 0u; d < params.head_dim4; d++) {
    // unroll r ROWS {
    o[o_r0 + d] = out_r0[d] / norm_r0;
    // }
  }
}
