// dq_t = scale * sum_j ds_j k_j over the keys j from first_key[t] to t+query_offset, per query head, with p_j = exp(scale * q_t.k_j - lse_t) and
// ds_j = p_j * (do_t.v_j - delta_t). q, do, dq [T, H*D], k, v [S, KVH*D], stats [T, H] of (lse, delta).
//
// As in attention_forward: an invocation owns ROWS neighbouring rows = t*G + g of one key/value head and takes KEYS keys at a time, the
// ROWS × KEYS scores and their gradients in named registers, the running sum in dq; a workgroup is WIDTH invocations.
// All in f32; the weight of a masked key is an exact zero. The scores are summed in the forward's order, so that lse fits them.
// 6*D flops per query and key; 16*D*(4/ROWS + 3/KEYS) bytes through the caches.

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
  head_dim4: u32, // D / 4
  query_offset: u32, // query t sits at key t + query_offset
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> q: array<vec4<f32>>; // [T, H*D/4]
@group(0) @binding(2) var<storage, read_write> k: array<vec4<f32>>; // [S, KVH*D/4]
@group(0) @binding(3) var<storage, read_write> v: array<vec4<f32>>; // [S, KVH*D/4]
@group(0) @binding(4) var<storage, read_write> d_out: array<vec4<f32>>; // [T, H*D/4]
@group(0) @binding(5) var<storage, read_write> stats: array<vec2<f32>>; // [T, H]
@group(0) @binding(6) var<storage, read_write> first_key: array<u32>; // [T]
@group(0) @binding(7) var<storage, read_write> dq: array<vec4<f32>>; // [T, H*D/4]

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
  let stats_r0 = stats[head_r0];
  begin = min(begin, first_r0);
  // }
  for (var d = 0u; d < params.head_dim4; d++) {
    // unroll r ROWS {
    dq[q_r0 + d] = vec4<f32>(0.0);
    // }
  }

  for (var key = begin; key <= end; key += KEYS) {
    // unroll c KEYS {
    let k_c0 = (min(key + 0u /*c*/, end) * params.kv_heads + kv_head) * params.head_dim4;
    // unroll r ROWS {
    var s_r0_c0 = 0.0;
    var dp_r0_c0 = 0.0;
    // }
    // }
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll r ROWS {
      let query_r0 = q[q_r0 + d];
      let dout_r0 = d_out[q_r0 + d];
      // }
      // unroll c KEYS {
      let key_c0 = k[k_c0 + d];
      let value_c0 = v[k_c0 + d];
      // unroll r ROWS {
      s_r0_c0 += dot(query_r0, key_c0);
      dp_r0_c0 += dot(dout_r0, value_c0);
      // }
      // }
    }
    // unroll r ROWS {
    // unroll c KEYS {
    let seen_r0_c0 = (key + 0u /*c*/ >= first_r0) & (key + 0u /*c*/ <= last_r0);
    let p_r0_c0 = exp(select(-1e30, s_r0_c0 * params.scale - stats_r0.x, seen_r0_c0));
    let ds_r0_c0 = select(0.0, params.scale * p_r0_c0 * (dp_r0_c0 - stats_r0.y), seen_r0_c0);
    // }
    // }
    for (var d = 0u; d < params.head_dim4; d++) {
      // unroll c KEYS {
      let key_c0 = k[k_c0 + d];
      // }
      // unroll r ROWS {
      var out_r0 = dq[q_r0 + d];
      // unroll c KEYS {
      out_r0 += ds_r0_c0 * key_c0;
      // }
      // }
      // unroll r ROWS {
      dq[q_r0 + d] = out_r0;
      // }
    }
  }
}
