// dv_j = sum p do_t, as attention_backward_key_value: the variant for GPUs, of which attention_backward_key_shared is
// the other half: both would take more buffers than a kernel may have.
//
// A workgroup owns 32 keys of a key/value head and takes 64 tokens of one of its query heads at a time: the scores are
// a product of tiles of what pack_tiles_forward laid out, the weights go to workgroup memory and are multiplied with
// slices of the output's gradient, and the sums stay in registers. All in f32; the weight of a masked query is an exact
// zero. The scores are summed in the forward's order, so that lse fits them. Queries may be a chunk of the tokens, from
// first_query on: the sums then go on from those of the chunk before, to the same bytes where chunks are cut at
// multiples of 64 tokens. 14 KiB of workgroup memory. 4·D flops per query and key.

import package::entry::{group_of};
import package::attention_cap::{scores_of};
import package::attention_tile::{LANES, QUADS, FOUR, place_of_tokens, scores, weights_of};
import package::attention_tile_keys::{params, tile_of, past_of, keys_of, seen_by, stats_of, load, store, weights, add_weighted};

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let tile = tile_of(group);
  let own = keys_of(tile, lane);
  var sums = load(tile, lane);
  let past = past_of(tile, lane);
  for (var t0 = tile.t0; t0 + params.first_query < past; t0 += 64u) {
    for (var g = 0u; g < tile.group_heads; g++) {
      let head = tile.kv_head * tile.group_heads + g;
      let q_base = place_of_tokens(t0, head, params.q16);
      let s = scores(q_base, tile.k_base, lane);
      // unroll a QUADS {
      // unroll i FOUR {
      let r_i0_a0 = 4u * (lane / 8u + 8u * 0u /*a*/) + 0u /*i*/;
      let stats_i0_a0 = stats_of(t0 + r_i0_a0, head);
      let seen_i0_a0 = seen_by(params.first_query + t0 + r_i0_a0, own);
      let score_i0_a0 = scores_of(s.of_i0_a0, params.scale, params.cap);
      let p_i0_a0 = weights_of(score_i0_a0, stats_i0_a0.x, seen_i0_a0);
      weights[r_i0_a0][lane % 8u] = select(vec4<f32>(), p_i0_a0, seen_i0_a0);
      // }
      // }
      add_weighted(&sums, t0, head, lane);
    }
  }
  store(&sums, tile, lane);
}
