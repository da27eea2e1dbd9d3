// dv_j = sum p do_t, as attention_backward_key_value: the variant for GPUs, of which attention_backward_key_shared is the other half: both would take more buffers than a kernel may have.
//
// A workgroup of 8 × 8 invocations owns 32 keys of a key/value head and takes 64 tokens of one of its query heads at a time: the scores are a product of tiles of what
// pack_tiles_forward laid out, the weights go to workgroup memory and are multiplied with slices of the output's gradient, and the sums stay in registers.
// All in f32; the weight of a masked query is an exact zero. The scores are summed in the forward's order, so that lse fits them. Queries may be a chunk of the tokens, from first_query on: the
// sums then go on from those of the chunk before, to the same bytes where chunks are cut at multiples of 64 tokens. 14 KiB of workgroup memory. 4·D flops per query and key.

const HEAD4: u32 = 8u; // D / 4, a multiple of 8
const NB: u32 = 1u;    // HEAD4 / 8: vec4 of a head's columns that an invocation owns
const RK: u32 = 1u;    // rows of slice that a row of a head takes: HEAD4 / 16, rounded up
const VK: u32 = 16u;   // rows of a head that slice holds: 16 / RK
const VL: u32 = 2u;    // vec4 of them that an invocation brings: VK·HEAD4 / 64
const STEP: u32 = 16u; // columns of a slice, whose products stand one after another in the code
const TWO: u32 = 2u;
const FOUR: u32 = 4u;

struct Params {
  group_base: u32,
  group_end: u32,
  key_groups: u32, // workgroups per key/value head
  tokens: u32, // S
  first_query: u32, // the token of query 0
  queries: u32, // T
  accumulate: u32, // 1: dv +=
  heads: u32, // H
  kv_heads: u32, // KVH
  q16: u32, // H·D / 16, rounded up: columns of packed q
  k16: u32, // KVH·D / 16, rounded up
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> packed_q: array<vec4<f32>>; // [T/64, 16·q16, 16]
@group(0) @binding(2) var<storage, read_write> k: array<vec4<f32>>; // [S/64, 16·k16, 16]
@group(0) @binding(3) var<storage, read_write> d_out: array<vec4<f32>>; // [T, H*D/4]
@group(0) @binding(4) var<storage, read_write> stats: array<vec2<f32>>; // [T, H]
@group(0) @binding(5) var<storage, read_write> last_query: array<u32>; // [S]
@group(0) @binding(6) var<storage, read_write> dv: array<vec4<f32>>; // [S, KVH*D/4]

var<workgroup> slice: array<array<vec4<f32>, 16>, 16>; // [column][4 tokens each], then [row·RK][columns]
var<workgroup> keys: array<array<vec4<f32>, 8>, 16>;   // [column][4 keys each]
var<workgroup> weights: array<array<vec4<f32>, 8>, 64>; // [token][4 keys each]
var<workgroup> last: u32; // one past the last query that sees any of the keys

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let kv_head = group / params.key_groups;
  let key0 = group % params.key_groups * 32u;
  let tx = lane % 8u;
  let ty = lane / 8u;
  let group_heads = params.heads / params.kv_heads;
  let end = params.first_query + params.queries;
  let last_key = params.tokens - 1u;
  if (lane == 0u) { last = min(last_query[min(key0 + 31u, last_key)], end); } // it does not fall from key to key
  let key = vec4<u32>(key0 + 4u * tx) + vec4<u32>(0u, 1u, 2u, 3u);
  let last_of = min(vec4<u32>(end), vec4<u32>(last_query[min(key.x, last_key)], last_query[min(key.y, last_key)], last_query[min(key.z, last_key)], last_query[min(key.w, last_key)]));
  let k_base = (key0 / 64u * 16u * params.k16 + kv_head * 4u * HEAD4) * 16u + key0 % 64u / 4u;
  let own = key0 + 4u * ty; // the keys whose sums the invocation has
  // unroll b NB {
  var o0_b0 = vec4<f32>();
  var o1_b0 = vec4<f32>();
  var o2_b0 = vec4<f32>();
  var o3_b0 = vec4<f32>();
  // }
  if (params.accumulate == 1u) {
    // unroll b NB {
    if (own + 0u <= last_key) { o0_b0 = dv[((own + 0u) * params.kv_heads + kv_head) * HEAD4 + tx + 8u * 0u /*b*/]; }
    if (own + 1u <= last_key) { o1_b0 = dv[((own + 1u) * params.kv_heads + kv_head) * HEAD4 + tx + 8u * 0u /*b*/]; }
    if (own + 2u <= last_key) { o2_b0 = dv[((own + 2u) * params.kv_heads + kv_head) * HEAD4 + tx + 8u * 0u /*b*/]; }
    if (own + 3u <= last_key) { o3_b0 = dv[((own + 3u) * params.kv_heads + kv_head) * HEAD4 + tx + 8u * 0u /*b*/]; }
    // }
  }
  let past = workgroupUniformLoad(&last);
  for (var t0 = (max(key0, params.first_query) - params.first_query) / 64u * 64u; t0 + params.first_query < past; t0 += 64u) {
    for (var g = 0u; g < group_heads; g++) {
      let head = kv_head * group_heads + g;
      let q_base = (t0 / 64u * 16u * params.q16 + head * 4u * HEAD4) * 16u;
      // unroll a TWO {
      var s0_a0 = vec4<f32>();
      var s1_a0 = vec4<f32>();
      var s2_a0 = vec4<f32>();
      var s3_a0 = vec4<f32>();
      // }
      for (var d = 0u; d < 4u * HEAD4; d += 16u) {
        // unroll l FOUR {
        let a_l0 = packed_q[q_base + 16u * d + lane + 64u * 0u /*l*/];
        // }
        // unroll m TWO {
        let b_m0 = k[k_base + 16u * (d + (lane + 64u * 0u /*m*/) / 8u) + lane % 8u];
        // }
        workgroupBarrier();
        // unroll l FOUR {
        slice[lane / 16u + 4u * 0u /*l*/][lane % 16u] = a_l0;
        // }
        // unroll m TWO {
        keys[lane / 8u + 8u * 0u /*m*/][lane % 8u] = b_m0;
        // }
        workgroupBarrier();
        // unroll k STEP {
        let key_k0 = keys[0u /*k*/][tx];
        // unroll a TWO {
        let row_k0_a0 = slice[0u /*k*/][ty + 8u * 0u /*a*/];
        s0_a0 += row_k0_a0.x * key_k0;
        s1_a0 += row_k0_a0.y * key_k0;
        s2_a0 += row_k0_a0.z * key_k0;
        s3_a0 += row_k0_a0.w * key_k0;
        // }
        // }
      }
      // unroll a TWO {
      let r_a0 = 4u * (ty + 8u * 0u /*a*/);
      let t_a0 = params.first_query + t0 + r_a0;
      let stats0_a0 = stats[min(t0 + r_a0 + 0u, params.queries - 1u) * params.heads + head];
      let seen0_a0 = (key <= vec4<u32>(t_a0 + 0u)) & (vec4<u32>(t_a0 + 0u) < last_of);
      let p0_a0 = exp(select(vec4<f32>(-1e30), s0_a0 * params.scale - stats0_a0.x, seen0_a0));
      weights[r_a0 + 0u][tx] = select(vec4<f32>(), p0_a0, seen0_a0);
      let stats1_a0 = stats[min(t0 + r_a0 + 1u, params.queries - 1u) * params.heads + head];
      let seen1_a0 = (key <= vec4<u32>(t_a0 + 1u)) & (vec4<u32>(t_a0 + 1u) < last_of);
      let p1_a0 = exp(select(vec4<f32>(-1e30), s1_a0 * params.scale - stats1_a0.x, seen1_a0));
      weights[r_a0 + 1u][tx] = select(vec4<f32>(), p1_a0, seen1_a0);
      let stats2_a0 = stats[min(t0 + r_a0 + 2u, params.queries - 1u) * params.heads + head];
      let seen2_a0 = (key <= vec4<u32>(t_a0 + 2u)) & (vec4<u32>(t_a0 + 2u) < last_of);
      let p2_a0 = exp(select(vec4<f32>(-1e30), s2_a0 * params.scale - stats2_a0.x, seen2_a0));
      weights[r_a0 + 2u][tx] = select(vec4<f32>(), p2_a0, seen2_a0);
      let stats3_a0 = stats[min(t0 + r_a0 + 3u, params.queries - 1u) * params.heads + head];
      let seen3_a0 = (key <= vec4<u32>(t_a0 + 3u)) & (vec4<u32>(t_a0 + 3u) < last_of);
      let p3_a0 = exp(select(vec4<f32>(-1e30), s3_a0 * params.scale - stats3_a0.x, seen3_a0));
      weights[r_a0 + 3u][tx] = select(vec4<f32>(), p3_a0, seen3_a0);
      // }
      for (var part = 0u; part < 64u; part += VK) {
        // unroll l VL {
        let r_l0 = (lane + 64u * 0u /*l*/) / HEAD4;
        let c_l0 = (lane + 64u * 0u /*l*/) % HEAD4;
        var v_l0 = vec4<f32>();
        if (t0 + part + r_l0 < params.queries) { v_l0 = d_out[((t0 + part + r_l0) * params.heads + head) * HEAD4 + c_l0]; }
        // }
        workgroupBarrier();
        // unroll l VL {
        slice[r_l0 * RK + c_l0 / 16u][c_l0 % 16u] = v_l0;
        // }
        workgroupBarrier();
        // unroll k VK {
        let w_k0 = weights[part + 0u /*k*/][ty];
        // unroll b NB {
        let v_k0_b0 = slice[0u /*k*/ * RK + 0u /*b*/ / 2u][tx + 8u * (0u /*b*/ % 2u)];
        o0_b0 += w_k0.x * v_k0_b0;
        o1_b0 += w_k0.y * v_k0_b0;
        o2_b0 += w_k0.z * v_k0_b0;
        o3_b0 += w_k0.w * v_k0_b0;
        // }
        // }
      }
    }
  }
  if (own + 0u <= last_key) {
    // unroll b NB {
    dv[((own + 0u) * params.kv_heads + kv_head) * HEAD4 + tx + 8u * 0u /*b*/] = o0_b0;
    // }
  }
  if (own + 1u <= last_key) {
    // unroll b NB {
    dv[((own + 1u) * params.kv_heads + kv_head) * HEAD4 + tx + 8u * 0u /*b*/] = o1_b0;
    // }
  }
  if (own + 2u <= last_key) {
    // unroll b NB {
    dv[((own + 2u) * params.kv_heads + kv_head) * HEAD4 + tx + 8u * 0u /*b*/] = o2_b0;
    // }
  }
  if (own + 3u <= last_key) {
    // unroll b NB {
    dv[((own + 3u) * params.kv_heads + kv_head) * HEAD4 + tx + 8u * 0u /*b*/] = o3_b0;
    // }
  }
}
