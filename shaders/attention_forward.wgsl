// Causal attention with grouped key/value heads over packed segments, per query head: s_j = scale * q_t.k_j for the keys j from
// first_key[t] to t+query_offset, lse = log(sum_j exp(s_j)), o_t = sum_j exp(s_j - lse) v_j. q, o [T, H*D], k, v [S, KVH*D], lse [T, H].
//
// The queries of a key/value head are numbered row = t*G + g, g being the head within its group of G = H/KVH. An invocation owns ROWS
// neighbouring rows and takes KEYS keys at a time; a workgroup is WIDTH invocations of one key/value head, which walk nearly the same keys.
// No barrier: on a CPU device a load costs as much as 70 fused multiply-adds, so what counts is how many products a load
// serves. The ROWS × KEYS scores are in named registers; the running output stays in o, which bounds the code for every D.
// FlashAttention-2's online softmax (arXiv 2307.08691): the largest score so far is subtracted, and the output rescaled when it
// grows. All in f32; a masked score is -1e30 and its weight an exact zero.
// 4*D flops per query and key; 16*D*(2/ROWS + 3/KEYS) bytes through the caches.

const ROWS: u32 = 1u;
const KEYS: u32 = 1u;
const WIDTH: u32 = 32u;

struct Params {
  group_base: u32,
  group_end: u32,
  row_groups: u32, // workgroups per key/value head
  rows: u32, // T * G
  heads: u32, // H
  kv_heads: u32, // KVH
  head_dim4: u32, // D / 4; not a constant, for compilers of CPU devices would unroll the loops over it
  query_offset: u32, // query t sits at key t + query_offset
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> q: array<vec4<f32>>; // [T, H*D/4]
@group(0) @binding(2) var<storage, read_write> k: array<vec4<f32>>; // [S, KVH*D/4]
@group(0) @binding(3) var<storage, read_write> v: array<vec4<f32>>; // [S, KVH*D/4]
@group(0) @binding(4) var<storage, read_write> first_key: array<u32>; // [T]
@group(0) @binding(5) var<storage, read_write> o: array<vec4<f32>>; // [T, H*D/4]
@group(0) @binding(6) var<storage, read_write> lse: array<f32>; // [T, H]

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let kv_head = group / params.row_groups;
  let row = (group % params.row_groups * WIDTH + lane) * ROWS;
  if (row >= params.rows) { return; }
  let group_heads = params.heads / params.kv_heads;

  let end = (min(row + ROWS, params.rows) - 1u) / group_heads + params.query_offset; // the last key that any of the rows sees
  var begin = end; // and the first
  // unroll r ROWS {
  let row_r0 = min(row + 0u /*r*/, params.rows - 1u); // beyond the last: a copy of it, which stores the same values
  let last_r0 = row_r0 / group_heads + params.query_offset;
  let first_r0 = min(first_key[row_r0 / group_heads], last_r0);
  let head_r0 = row_r0 / group_heads * params.heads + kv_head * group_heads + row_r0 % group_heads; // in [T, H]
  let q_r0 = head_r0 * params.head_dim4;
  var largest_r0 = -1e30;
  var sum_r0 = 0.0;
  begin = min(begin, first_r0);
  // }
  for (var d = 0u; d < params.head_dim4; d++) {
    // unroll r ROWS {
    o[q_r0 + d] = vec4<f32>(0.0);
    // }
  }

  for (var key = begin; key <= end; key += KEYS) {
    // unroll c KEYS {
    let k_c0 = (min(key + 0u /*c*/, end) * params.kv_heads + kv_head) * params.head_dim4;
    // unroll r ROWS {
    var s_r0_c0 = 0.0;
    // }
    // }
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll r ROWS {
      let query_r0 = q[q_r0 + d];
      // }
      // unroll c KEYS {
      let key_c0 = k[k_c0 + d];
      // unroll r ROWS {
      s_r0_c0 += dot(query_r0, key_c0);
      // }
      // }
    }
    // unroll r ROWS {
    var next_r0 = largest_r0;
    // unroll c KEYS {
    let seen_r0_c0 = (key + 0u /*c*/ >= first_r0) & (key + 0u /*c*/ <= last_r0);
    s_r0_c0 = select(-1e30, s_r0_c0 * params.scale, seen_r0_c0);
    next_r0 = max(next_r0, s_r0_c0);
    // }
    let shrink_r0 = exp(largest_r0 - next_r0);
    largest_r0 = next_r0;
    sum_r0 *= shrink_r0;
    // unroll c KEYS {
    let p_r0_c0 = select(0.0, exp(s_r0_c0 - next_r0), seen_r0_c0);
    sum_r0 += p_r0_c0;
    // }
    // }
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll c KEYS {
      let value_c0 = v[k_c0 + d];
      // }
      // unroll r ROWS {
      var out_r0 = o[q_r0 + d] * shrink_r0;
      // unroll c KEYS {
      out_r0 += p_r0_c0 * value_c0;
      // }
      // }
      // unroll r ROWS {
      o[q_r0 + d] = out_r0;
      // }
    }
  }

  // unroll r ROWS {
  lse[head_r0] = largest_r0 + log(sum_r0);
  // }
  for (var d = 0u; d < params.head_dim4; d++) {
    // unroll r ROWS {
    let out_r0 = o[q_r0 + d] / sum_r0;
    // }
    // unroll r ROWS {
    o[q_r0 + d] = out_r0;
    // }
  }
}
