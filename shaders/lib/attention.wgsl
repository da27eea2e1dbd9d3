import package::attention_cap::{CAPPED, scores_of};

// Attention in registers: an invocation takes ROWS rows (queries of the heads of one group, row = t*G + g) by KEYS keys
// at a time.
const ROWS: u32 = 1u;
const KEYS: u32 = 1u;

// The rows that an invocation owns. Beyond the last they are copies of it, which store the same values.
struct Own {
  // unroll r ROWS {
  token_r0: u32,
  last_r0: u32, // the last key that it sees
  head_r0: u32, // in [T, H]
  q_r0: u32, // where it begins in q
  // }
  end: u32, // the key at which all of them end
}

// q·k of each row and key, by scale_scores the scores, and whether the row sees the key.
struct Scores {
  // unroll r ROWS {
  // unroll c KEYS {
  of_r0_c0: f32,
  seen_r0_c0: bool,
  // }
  // }
}

const SCORES4: u32 = 1u; // fours of scores: ROWS·KEYS / 4

// Scales the products, and caps four at a time: the largest tile has 256, and a browser's compiler takes half a minute
// for as many tanh. (A loop over them takes software Vulkan's minutes.)
fn scale_scores(scores: ptr<function, Scores>, scale: f32, cap: f32) {
  // unroll r ROWS {
  // unroll c KEYS {
  (*scores).of_r0_c0 *= scale;
  // }
  // }
  // unroll x CAPPED {
  var all: array<vec4<f32>, SCORES4>;
  // unroll r ROWS {
  // unroll c KEYS {
  all[(0u /*r*/ * KEYS + 0u /*c*/) / 4u][(0u /*r*/ * KEYS + 0u /*c*/) % 4u] = (*scores).of_r0_c0;
  // }
  // }
  // unroll i SCORES4 {
  all[0u /*i*/] = scores_of(all[0u /*i*/], 1.0, cap);
  // }
  // unroll r ROWS {
  // unroll c KEYS {
  (*scores).of_r0_c0 = all[(0u /*r*/ * KEYS + 0u /*c*/) / 4u][(0u /*r*/ * KEYS + 0u /*c*/) % 4u];
  // }
  // }
  // }
}

// Softmax online (FlashAttention-2, arXiv 2307.08691): of each row the largest score so far, and the sum of weights
// relative to it; of the keys just taken the weights, and what the sums of earlier ones shrink by.
struct Softmax {
  // unroll r ROWS {
  largest_r0: f32,
  sum_r0: f32,
  shrink_r0: f32,
  // unroll c KEYS {
  weight_r0_c0: f32,
  // }
  // }
}

fn take(softmax: ptr<function, Softmax>, scores: ptr<function, Scores>, scale: f32, cap: f32) {
  scale_scores(scores, scale, cap);
  // unroll r ROWS {
  let before_r0 = (*softmax).largest_r0;
  var next_r0 = before_r0;
  // unroll c KEYS {
  let s_r0_c0 = select(-1e30, (*scores).of_r0_c0, (*scores).seen_r0_c0);
  next_r0 = max(next_r0, s_r0_c0);
  // }
  let shrink_r0 = exp(before_r0 - next_r0);
  (*softmax).largest_r0 = next_r0;
  (*softmax).shrink_r0 = shrink_r0;
  (*softmax).sum_r0 *= shrink_r0;
  // unroll c KEYS {
  let weight_r0_c0 = select(0.0, exp(s_r0_c0 - next_r0), (*scores).seen_r0_c0);
  (*softmax).weight_r0_c0 = weight_r0_c0;
  (*softmax).sum_r0 += weight_r0_c0;
  // }
  // }
}

// The weight of a key by its score; lse is the row's largest and the log of its sum in one. Where it is not seen it may
// be any.
fn weight_of(score: f32, lse: f32, seen: bool) -> f32 {
  return exp(select(-1e30, score - lse, seen));
}
