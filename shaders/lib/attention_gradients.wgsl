import package::attention::{ROWS, KEYS, Scores, scale_scores};

@group(0) @binding(1) var<storage, read_write> q: array<vec4<f32>>; // [T, H*D/4]
@group(0) @binding(2) var<storage, read_write> k: array<vec4<f32>>; // [S, KVH*D/4]
@group(0) @binding(3) var<storage, read_write> v: array<vec4<f32>>; // [S, KVH*D/4]
@group(0) @binding(4) var<storage, read_write> d_out: array<vec4<f32>>; // [T, H*D/4]

// Where rows begin in q and d_out, and keys in k and v.
struct Places {
  // unroll r ROWS {
  row_r0: u32,
  // }
  // unroll c KEYS {
  key_c0: u32,
  // }
}

// The gradients of the weights.
struct Gradients {
  // unroll r ROWS {
  // unroll c KEYS {
  of_r0_c0: f32,
  // }
  // }
}

// Leaves the scores too. They are summed in the forward's order, so that lse fits them.
fn products(scores: ptr<function, Scores>, at: Places, head_dim4: u32, scale: f32, cap: f32) -> Gradients {
  *scores = Scores();
  var sums = Gradients();
  for (var d = 0u; d < head_dim4; d++) {
    // unroll r ROWS {
    let query_r0 = q[at.row_r0 + d];
    let dout_r0 = d_out[at.row_r0 + d];
    // }
    // unroll c KEYS {
    let key_c0 = k[at.key_c0 + d];
    let value_c0 = v[at.key_c0 + d];
    // unroll r ROWS {
    (*scores).of_r0_c0 += dot(query_r0, key_c0);
    sums.of_r0_c0 += dot(dout_r0, value_c0);
    // }
    // }
  }
  scale_scores(scores, scale, cap);
  return sums;
}
