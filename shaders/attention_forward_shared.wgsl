// Causal attention with grouped key/value heads over packed segments, as attention_forward: the variant for GPUs.
//
// A workgroup owns 64 tokens of a query head and takes 32 keys at a time. Scores are a product of tiles: slices of 16
// columns of q and k, as pack_tiles_forward laid them, go through workgroup memory, and an invocation multiplies 8
// tokens (4, with a head dimension above 128) by 4 keys in registers. The largest score of a token passes through
// workgroup memory, and so do the weights, which are multiplied with slices of v; the output stays in registers.
// FlashAttention-2's online softmax (arXiv 2307.08691). Columns of the weights are swapped by key, so that neighbouring
// invocations write to different banks. All in f32; a masked score is -1e30 and its weight an exact zero. 14 KiB of
// workgroup memory. 4·D flops per query and key.

import package::entry::{group_of};
import package::attention_cap::{scores_of};
import package::attention_tile::{HEAD4, NB, LANES, QUADS, FOUR, slice, place_of_keys, scores};
import package::attention_tile_tokens::{params, first_key, tile_of, begin_of, Sums, put_weights, add_weighted};

@group(0) @binding(5) var<storage, read_write> o: array<vec4<f32>>; // [T, H*D/4]
@group(0) @binding(6) var<storage, read_write> lse: array<f32>; // [T, H]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let tile = tile_of(group);
  let tx = lane % 8u;
  let ty = lane / 8u;
  // unroll a QUADS {
  let q_a0 = ty + 8u * 0u /*a*/; // which 4 tokens
  let t_a0 = tile.t0 + 4u * q_a0;
  let first_a0 = vec4<u32>(first_key[min(t_a0, tile.last)], first_key[min(t_a0 + 1u, tile.last)],
                           first_key[min(t_a0 + 2u, tile.last)], first_key[min(t_a0 + 3u, tile.last)]);
  let last_a0 = t_a0 + params.query_offset; // that the first of the four sees
  var largest_a0 = vec4<f32>(-1e30);
  var sum_a0 = vec4<f32>(); // of the weights of this invocation's keys
  // }
  var out = Sums();
  for (var key0 = begin_of(tile, lane) / 32u * 32u; key0 <= tile.end; key0 += 32u) {
    let s = scores(tile.q_base, place_of_keys(key0, tile.kv_head, params.k16), lane);
    let key = vec4<u32>(key0 + 4u * tx) + vec4<u32>(0u, 1u, 2u, 3u);
    workgroupBarrier();
    // unroll a QUADS {
    // unroll i FOUR {
    let seen_i0_a0 = (key >= vec4<u32>(first_a0[0u /*i*/])) & (key <= vec4<u32>(last_a0 + 0u /*i*/));
    let s_i0_a0 = select(vec4<f32>(-1e30), scores_of(s.of_i0_a0, params.scale, params.cap), seen_i0_a0);
    // }
    slice[tx][q_a0 ^ tx] = max(
      vec4<f32>(max(s_i0_a0.x, s_i0_a0.y), max(s_i1_a0.x, s_i1_a0.y), max(s_i2_a0.x, s_i2_a0.y), max(s_i3_a0.x, s_i3_a0.y)),
      vec4<f32>(max(s_i0_a0.z, s_i0_a0.w), max(s_i1_a0.z, s_i1_a0.w), max(s_i2_a0.z, s_i2_a0.w), max(s_i3_a0.z, s_i3_a0.w)));
    // }
    workgroupBarrier();
    // unroll a QUADS {
    var next_a0 = largest_a0;
    for (var x = 0u; x < 8u; x++) { next_a0 = max(next_a0, slice[x][q_a0 ^ x]); }
    let shrink_a0 = exp(largest_a0 - next_a0);
    largest_a0 = next_a0;
    // unroll i FOUR {
    let p_i0_a0 = select(vec4<f32>(), exp(s_i0_a0 - vec4<f32>(next_a0[0u /*i*/])), seen_i0_a0);
    let weight_i0_a0 = dot(p_i0_a0, vec4<f32>(1.0));
    // }
    sum_a0 = sum_a0 * shrink_a0 + vec4<f32>(weight_i0_a0, weight_i1_a0, weight_i2_a0, weight_i3_a0);
    put_weights(q_a0, tx, mat4x4<f32>(p_i0_a0, p_i1_a0, p_i2_a0, p_i3_a0));
    // unroll b NB {
    // unroll i FOUR {
    out.of_i0_a0_b0 *= shrink_a0[0u /*i*/];
    // }
    // }
    // }
    add_weighted(&out, tile, key0, lane);
  }
  workgroupBarrier();
  // unroll a QUADS {
  slice[tx][q_a0 ^ tx] = sum_a0;
  // }
  workgroupBarrier();
  // unroll a QUADS {
  var total_a0 = vec4<f32>();
  for (var x = 0u; x < 8u; x++) { total_a0 += slice[x][q_a0 ^ x]; }
  // unroll i FOUR {
  if (t_a0 + 0u /*i*/ <= tile.last) {
    let at = (t_a0 + 0u /*i*/) * params.heads + tile.head;
    if (tx == 0u) { lse[at] = largest_a0[0u /*i*/] + log(total_a0[0u /*i*/]); }
    // unroll b NB {
    o[at * HEAD4 + tx + 8u * 0u /*b*/] = out.of_i0_a0_b0 / total_a0[0u /*i*/];
    // }
  }
  // }
  // }
}
