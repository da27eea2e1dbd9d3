// Causal attention with grouped key/value heads over packed segments, per query head: s_j = scale * q_t.k_j for the
// keys j from first_key[t] to t+query_offset, lse = log(sum_j exp(s_j)), o_t = sum_j exp(s_j - lse) v_j. q, o [T, H*D],
// k, v [S, KVH*D], lse [T, H].
//
// The queries of a key/value head are numbered row = t*G + g, g being the head within its group of G = H/KVH. An
// invocation owns ROWS neighbouring rows and takes KEYS keys at a time; a workgroup is WIDTH invocations of one
// key/value head, which walk nearly the same keys. No barrier: on a CPU device a load costs as much as 70 fused
// multiply-adds, so what counts is how many products a load serves. The ROWS × KEYS scores are in named registers; the
// running output stays in o, which bounds the code for every D. FlashAttention-2's online softmax (arXiv 2307.08691):
// the largest score so far is subtracted, and the output rescaled when it grows. All in f32; a masked score is -1e30
// and its weight an exact zero. 4*D flops per query and key; 16*D*(2/ROWS + 3/KEYS) bytes through the caches.

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
    take(&softmax, &scores, params.scale, params.cap);
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
