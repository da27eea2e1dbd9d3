// dq_t = scale * sum_j ds_j k_j, as attention_backward_query: the variant for GPUs.
//
// As in attention_forward_shared, a workgroup owns 64 tokens of a query head and takes 32 keys at a time: the scores
// and their gradients are two products of tiles of what pack_tiles_forward laid out, the scores' gradients go to
// workgroup memory and are multiplied with slices of k, and the sums stay in registers. All in f32; the weight of a
// masked key is an exact zero. The scores are summed in the forward's order, so that lse fits them. 14 KiB of workgroup
// memory. 6·D flops per query and key.

import package::entry::{group_of};
import package::attention_cap::{scores_of, slopes_of};
import package::attention_tile::{HEAD4, NB, LANES, QUADS, FOUR, place_of_keys, scores, weight_gradients, weights_of};
import package::attention_tile_tokens::{params, first_key, tile_of, begin_of, Sums, put_weights, add_weighted};

@group(0) @binding(5) var<storage, read_write> stats: array<vec2<f32>>; // [T, H]
@group(0) @binding(6) var<storage, read_write> dq: array<vec4<f32>>; // [T, H*D/4]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let tile = tile_of(group);
  let tx = lane % 8u;
  let ty = lane / 8u;
  // unroll a QUADS {
  // unroll i FOUR {
  let t_i0_a0 = tile.t0 + 4u * (ty + 8u * 0u /*a*/) + 0u /*i*/;
  let first_i0_a0 = first_key[min(t_i0_a0, tile.last)];
  let stats_i0_a0 = stats[min(t_i0_a0, tile.last) * params.heads + tile.head];
  // }
  // }
  var sums = Sums();
  for (var key0 = begin_of(tile, lane) / 32u * 32u; key0 <= tile.end; key0 += 32u) {
    let k_base = place_of_keys(key0, tile.kv_head, params.k16);
    let s = scores(tile.q_base, k_base, lane);
    let dp = weight_gradients(tile.q_base, k_base, lane);
    let key = vec4<u32>(key0 + 4u * tx) + vec4<u32>(0u, 1u, 2u, 3u);
    // unroll a QUADS {
    // unroll i FOUR {
    let seen_i0_a0 = (key >= vec4<u32>(first_i0_a0)) & (key <= vec4<u32>(t_i0_a0 + params.query_offset));
    let score_i0_a0 = scores_of(s.of_i0_a0, params.scale, params.cap);
    let p_i0_a0 = weights_of(score_i0_a0, stats_i0_a0.x, seen_i0_a0);
    let slope_i0_a0 = slopes_of(score_i0_a0, params.scale, params.cap);
    let ds_i0_a0 = select(vec4<f32>(), slope_i0_a0 * p_i0_a0 * (dp.of_i0_a0 - stats_i0_a0.y), seen_i0_a0);
    // }
    put_weights(ty + 8u * 0u /*a*/, tx, mat4x4<f32>(ds_i0_a0, ds_i1_a0, ds_i2_a0, ds_i3_a0));
    // }
    add_weighted(&sums, tile, key0, lane);
  }
  // unroll a QUADS {
  // unroll i FOUR {
  if (t_i0_a0 <= tile.last) {
    // unroll b NB {
    dq[(t_i0_a0 * params.heads + tile.head) * HEAD4 + tx + 8u * 0u /*b*/] = sums.of_i0_a0_b0;
    // }
  }
  // }
  // }
}
