// dq_t = scale * sum_j ds_j k_j, as attention_backward_query: the variant for GPUs.
//
// As in attention_forward_shared, a workgroup of 8 × 8 invocations owns 64 tokens of a query head and takes 32 keys at a time: the scores and their gradients are two products of tiles
// of what pack_tiles_forward laid out, the scores' gradients go to workgroup memory and are multiplied with slices of k, and the sums stay in registers.
// All in f32; the weight of a masked key is an exact zero. The scores are summed in the forward's order, so that lse fits them. 14 KiB of workgroup memory. 6·D flops per query and key.

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
  blocks: u32, // T / 64, rounded up
  tokens: u32, // T
  heads: u32, // H
  kv_heads: u32, // KVH
  q16: u32, // H·D / 16, rounded up: columns of packed q
  k16: u32, // KVH·D / 16, rounded up
  query_offset: u32, // query t sits at key t + query_offset
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> q: array<vec4<f32>>; // [T/64, 16·q16, 16]
@group(0) @binding(2) var<storage, read_write> packed_k: array<vec4<f32>>; // [S/64, 16·k16, 16]
@group(0) @binding(3) var<storage, read_write> v: array<vec4<f32>>; // [S/64, 16·k16, 16]
@group(0) @binding(4) var<storage, read_write> d_out: array<vec4<f32>>; // [T/64, 16·q16, 16]
@group(0) @binding(5) var<storage, read_write> k: array<vec4<f32>>; // [S, KVH*D/4]
@group(0) @binding(6) var<storage, read_write> stats: array<vec2<f32>>; // [T, H]
@group(0) @binding(7) var<storage, read_write> first_key: array<u32>; // [T]
@group(0) @binding(8) var<storage, read_write> dq: array<vec4<f32>>; // [T, H*D/4]

var<workgroup> slice: array<array<vec4<f32>, 16>, 16>; // [column][4 tokens each], then [row·RK][columns]
var<workgroup> keys: array<array<vec4<f32>, 8>, 16>;   // [column][4 keys each]
var<workgroup> weights: array<array<vec4<f32>, 16>, 32>; // the scores' gradients: [key][4 tokens each]
var<workgroup> begin: u32; // the first key that any of the tokens sees

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let head = group / params.blocks;
  let block = params.blocks - 1u - group % params.blocks; // those with most keys first
  let kv_head = head / (params.heads / params.kv_heads);
  let t0 = block * 64u;
  let tx = lane % 8u;
  let ty = lane / 8u;
  let last_token = params.tokens - 1u;
  if (lane == 0u) { begin = first_key[t0]; } // it does not fall from token to token
  let end = min(t0 + 63u, last_token) + params.query_offset; // the last key that any of them sees
  let q_base = (block * 16u * params.q16 + head * 4u * HEAD4) * 16u;
  // unroll a TWO {
  let t_a0 = t0 + 4u * (ty + 8u * 0u /*a*/);
  let first_a0 = vec4<u32>(first_key[min(t_a0, last_token)], first_key[min(t_a0 + 1u, last_token)], first_key[min(t_a0 + 2u, last_token)], first_key[min(t_a0 + 3u, last_token)]);
  let last_a0 = t_a0 + params.query_offset; // that the first of the four sees
  let stats0_a0 = stats[min(t_a0 + 0u, last_token) * params.heads + head];
  let stats1_a0 = stats[min(t_a0 + 1u, last_token) * params.heads + head];
  let stats2_a0 = stats[min(t_a0 + 2u, last_token) * params.heads + head];
  let stats3_a0 = stats[min(t_a0 + 3u, last_token) * params.heads + head];
  // unroll b NB {
  var o0_a0_b0 = vec4<f32>();
  var o1_a0_b0 = vec4<f32>();
  var o2_a0_b0 = vec4<f32>();
  var o3_a0_b0 = vec4<f32>();
  // }
  // }
  for (var key0 = workgroupUniformLoad(&begin) / 32u * 32u; key0 <= end; key0 += 32u) {
    let k_base = (key0 / 64u * 16u * params.k16 + kv_head * 4u * HEAD4) * 16u + key0 % 64u / 4u;
    // unroll a TWO {
    var s0_a0 = vec4<f32>();
    var s1_a0 = vec4<f32>();
    var s2_a0 = vec4<f32>();
    var s3_a0 = vec4<f32>();
    var dp0_a0 = vec4<f32>();
    var dp1_a0 = vec4<f32>();
    var dp2_a0 = vec4<f32>();
    var dp3_a0 = vec4<f32>();
    // }
    for (var d = 0u; d < 4u * HEAD4; d += 16u) {
      // unroll l FOUR {
      let a_l0 = q[q_base + 16u * d + lane + 64u * 0u /*l*/];
      // }
      // unroll m TWO {
      let b_m0 = packed_k[k_base + 16u * (d + (lane + 64u * 0u /*m*/) / 8u) + lane % 8u];
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
    for (var d = 0u; d < 4u * HEAD4; d += 16u) {
      // unroll l FOUR {
      let a_l0 = d_out[q_base + 16u * d + lane + 64u * 0u /*l*/];
      // }
      // unroll m TWO {
      let b_m0 = v[k_base + 16u * (d + (lane + 64u * 0u /*m*/) / 8u) + lane % 8u];
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
      dp0_a0 += row_k0_a0.x * key_k0;
      dp1_a0 += row_k0_a0.y * key_k0;
      dp2_a0 += row_k0_a0.z * key_k0;
      dp3_a0 += row_k0_a0.w * key_k0;
      // }
      // }
    }
    let key = vec4<u32>(key0 + 4u * tx) + vec4<u32>(0u, 1u, 2u, 3u);
    // unroll a TWO {
    let seen0_a0 = (key >= vec4<u32>(first_a0[0u])) & (key <= vec4<u32>(last_a0 + 0u));
    let p0_a0 = exp(select(vec4<f32>(-1e30), s0_a0 * params.scale - stats0_a0.x, seen0_a0));
    let ds0_a0 = select(vec4<f32>(), params.scale * p0_a0 * (dp0_a0 - stats0_a0.y), seen0_a0);
    let seen1_a0 = (key >= vec4<u32>(first_a0[1u])) & (key <= vec4<u32>(last_a0 + 1u));
    let p1_a0 = exp(select(vec4<f32>(-1e30), s1_a0 * params.scale - stats1_a0.x, seen1_a0));
    let ds1_a0 = select(vec4<f32>(), params.scale * p1_a0 * (dp1_a0 - stats1_a0.y), seen1_a0);
    let seen2_a0 = (key >= vec4<u32>(first_a0[2u])) & (key <= vec4<u32>(last_a0 + 2u));
    let p2_a0 = exp(select(vec4<f32>(-1e30), s2_a0 * params.scale - stats2_a0.x, seen2_a0));
    let ds2_a0 = select(vec4<f32>(), params.scale * p2_a0 * (dp2_a0 - stats2_a0.y), seen2_a0);
    let seen3_a0 = (key >= vec4<u32>(first_a0[3u])) & (key <= vec4<u32>(last_a0 + 3u));
    let p3_a0 = exp(select(vec4<f32>(-1e30), s3_a0 * params.scale - stats3_a0.x, seen3_a0));
    let ds3_a0 = select(vec4<f32>(), params.scale * p3_a0 * (dp3_a0 - stats3_a0.y), seen3_a0);
    weights[4u * tx + 0u][(ty + 8u * 0u /*a*/) ^ tx] = vec4<f32>(ds0_a0.x, ds1_a0.x, ds2_a0.x, ds3_a0.x);
    weights[4u * tx + 1u][(ty + 8u * 0u /*a*/) ^ tx] = vec4<f32>(ds0_a0.y, ds1_a0.y, ds2_a0.y, ds3_a0.y);
    weights[4u * tx + 2u][(ty + 8u * 0u /*a*/) ^ tx] = vec4<f32>(ds0_a0.z, ds1_a0.z, ds2_a0.z, ds3_a0.z);
    weights[4u * tx + 3u][(ty + 8u * 0u /*a*/) ^ tx] = vec4<f32>(ds0_a0.w, ds1_a0.w, ds2_a0.w, ds3_a0.w);
    // }
    for (var part = 0u; part < 32u; part += VK) {
      // unroll l VL {
      let r_l0 = (lane + 64u * 0u /*l*/) / HEAD4;
      let c_l0 = (lane + 64u * 0u /*l*/) % HEAD4;
      var v_l0 = vec4<f32>();
      if (key0 + part + r_l0 <= end) { v_l0 = k[((key0 + part + r_l0) * params.kv_heads + kv_head) * HEAD4 + c_l0]; }
      // }
      workgroupBarrier();
      // unroll l VL {
      slice[r_l0 * RK + c_l0 / 16u][c_l0 % 16u] = v_l0;
      // }
      workgroupBarrier();
      // unroll k VK {
      // unroll b NB {
      let v_k0_b0 = slice[0u /*k*/ * RK + 0u /*b*/ / 2u][tx + 8u * (0u /*b*/ % 2u)];
      // }
      // unroll a TWO {
      let w_k0_a0 = weights[part + 0u /*k*/][(ty + 8u * 0u /*a*/) ^ ((part + 0u /*k*/) / 4u)];
      // unroll b NB {
      o0_a0_b0 += w_k0_a0.x * v_k0_b0;
      o1_a0_b0 += w_k0_a0.y * v_k0_b0;
      o2_a0_b0 += w_k0_a0.z * v_k0_b0;
      o3_a0_b0 += w_k0_a0.w * v_k0_b0;
      // }
      // }
      // }
    }
  }
  // unroll a TWO {
  if (t_a0 + 0u <= last_token) {
    // unroll b NB {
    dq[((t_a0 + 0u) * params.heads + head) * HEAD4 + tx + 8u * 0u /*b*/] = o0_a0_b0;
    // }
  }
  if (t_a0 + 1u <= last_token) {
    // unroll b NB {
    dq[((t_a0 + 1u) * params.heads + head) * HEAD4 + tx + 8u * 0u /*b*/] = o1_a0_b0;
    // }
  }
  if (t_a0 + 2u <= last_token) {
    // unroll b NB {
    dq[((t_a0 + 2u) * params.heads + head) * HEAD4 + tx + 8u * 0u /*b*/] = o2_a0_b0;
    // }
  }
  if (t_a0 + 3u <= last_token) {
    // unroll b NB {
    dq[((t_a0 + 3u) * params.heads + head) * HEAD4 + tx + 8u * 0u /*b*/] = o3_a0_b0;
    // }
  }
  // }
}
