// dk_j = scale * sum ds q_t and dv_j = sum p do_t, as in attention_backward_key_value, from uniform arrays.
//
// The mirror of attention_backward_query_uniform: a dispatch takes one window of keys of one key/value head and one
// window of rows = t*G + g, an invocation owns KEYS neighbouring keys and takes ROWS rows at a time, with the sums of
// dk and dv in private arrays. Windows of rows come in their order, and from the second on the sums go on from dk and
// dv: they are added up in the same order however the rows are cut. All in f32; the weight of a masked query is an
// exact zero. The scores are summed in the forward's order, so that lse fits them. 8*D flops per query and key;
// 16*D*(4/KEYS + 2/ROWS) bytes from uniform arrays.

import package::entry::{group_of};
import package::attention::{ROWS, KEYS, Scores, scale_scores, weight_of};
import package::attention_cap::{slope_of};

const HEAD4: u32 = 64u; // D / 4

struct Params {
  group_base: u32,
  group_end: u32,
  first_key: u32, // of the window
  end_key: u32,
  first_row: u32, // of the window
  end_row: u32,
  first_query: u32, // the token of row 0
  kv_head: u32,
  heads: u32,       // H
  kv_heads: u32,    // KVH
  head_dim4: u32,   // D / 4
  resume: u32, // 1: earlier rows have been there
  scale: f32,
  cap: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> q: array<vec4<f32>, 4096>; // [rows of the window, D/4]
@group(0) @binding(2) var<uniform> d_out: array<vec4<f32>, 4096>; // the same
@group(0) @binding(3) var<uniform> k: array<vec4<f32>, 4096>; // [keys of the window, D/4]
@group(0) @binding(4) var<uniform> v: array<vec4<f32>, 4096>; // the same
@group(0) @binding(5) var<storage, read_write> stats: array<vec2<f32>>; // [T, H]
@group(0) @binding(6) var<storage, read_write> last_query: array<u32>; // [S]
@group(0) @binding(7) var<storage, read_write> dk: array<vec4<f32>>; // [S, KVH*D/4]
@group(0) @binding(8) var<storage, read_write> dv: array<vec4<f32>>; // [S, KVH*D/4]

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let key = params.first_key + (group * 8u + lane) * KEYS;
  if (key >= params.end_key) { return; }
  let group_heads = params.heads / params.kv_heads;

  var last = params.first_query; // one past the last query that sees any of the keys
  // unroll c KEYS {
  let key_c0 = min(key + 0u /*c*/, params.end_key - 1u); // beyond the last: a copy of it, which stores the same values
  let last_c0 = last_query[key_c0];
  let k_c0 = (key_c0 - params.first_key) * params.head_dim4;
  let dk_c0 = (key_c0 * params.kv_heads + params.kv_head) * params.head_dim4;
  var sumk_c0: array<vec4<f32>, HEAD4>;
  var sumv_c0: array<vec4<f32>, HEAD4>;
  last = max(last, last_c0);
  // }
  let begin = max((max(key, params.first_query) - params.first_query) * group_heads, params.first_row);
  let end = min((last - params.first_query) * group_heads, params.end_row);
  if (params.resume == 1u) {
    if (begin >= end) { return; }
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll c KEYS {
      sumk_c0[d] = dk[dk_c0 + d];
      sumv_c0[d] = dv[dk_c0 + d];
      // }
    }
  }

  for (var row = begin; row < end; row += ROWS) {
    var scores = Scores();
    // unroll r ROWS {
    let row_r0 = min(row + 0u /*r*/, end - 1u);
    let t_r0 = params.first_query + row_r0 / group_heads;
    let q_r0 = (row_r0 - params.first_row) * params.head_dim4;
    let stats_r0 = stats[row_r0 / group_heads * params.heads + params.kv_head * group_heads + row_r0 % group_heads];
    // unroll c KEYS {
    var dp_r0_c0 = 0.0;
    // }
    // }
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll c KEYS {
      let keyvec_c0 = k[k_c0 + d];
      let value_c0 = v[k_c0 + d];
      // }
      // unroll r ROWS {
      let query_r0 = q[q_r0 + d];
      let dout_r0 = d_out[q_r0 + d];
      // unroll c KEYS {
      dp_r0_c0 += dot(dout_r0, value_c0);
      scores.of_r0_c0 += dot(query_r0, keyvec_c0);
      // }
      // }
    }
    scale_scores(&scores, params.scale, params.cap);
    // unroll r ROWS {
    // unroll c KEYS {
    let seen_r0_c0 = (t_r0 >= key_c0) & (t_r0 < last_c0) & (row + 0u /*r*/ < end);
    let p_r0_c0 = select(0.0, weight_of(scores.of_r0_c0, stats_r0.x, seen_r0_c0), seen_r0_c0);
    let ds_r0_c0 = select(0.0, slope_of(scores.of_r0_c0, params.scale, params.cap) * p_r0_c0 * (dp_r0_c0 - stats_r0.y), seen_r0_c0);
    // }
    // }
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll c KEYS {
      var nextk_c0 = sumk_c0[d];
      var nextv_c0 = sumv_c0[d];
      // }
      // unroll r ROWS {
      let query_r0 = q[q_r0 + d];
      let dout_r0 = d_out[q_r0 + d];
      // unroll c KEYS {
      nextk_c0 += ds_r0_c0 * query_r0;
      nextv_c0 += p_r0_c0 * dout_r0;
      // }
      // }
      // unroll c KEYS {
      sumk_c0[d] = nextk_c0;
      sumv_c0[d] = nextv_c0;
      // }
    }
  }

  for (var d = 0u; d < params.head_dim4; d++) {
    // unroll c KEYS {
    dk[dk_c0 + d] = sumk_c0[d];
    dv[dk_c0 + d] = sumv_c0[d];
    // }
  }
}
