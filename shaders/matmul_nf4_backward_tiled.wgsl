// dx[t, k] (+)= sum_n dy[t, n] * W[n, k], the gradient through the frozen NF4 weight, read from the same packed layout as the forward pass.
//
// The variant for GPUs. A workgroup of TX × TY invocations owns 4·XR tokens × 4·WR columns and walks the rows of W in steps of 16, as matmul_nf4_forward_tiled
// walks the columns: dy comes as pack_tiles_forward laid it; W is decoded word by word, a word being 8 neighbouring columns of a row, whose halves go to the two
// halves of a workgroup tile. The rows may be cut into parts, each summed by workgroups of its own into its own dx, as the forward product's columns. Numerics: float32 sums in the order of n,
// of each part, from dx on when accumulating, so that cutting W into shards changes no byte where it is not in parts. 256·(XR+WR) + 64 bytes of workgroup memory.

const TX: u32 = 8u;    // invocations along the columns of W
const TY: u32 = 8u;    // and along the tokens
const LANES: u32 = 64u; // TX·TY
const ROWS4: u32 = 1u; // vec4 of tokens an invocation owns
const COLS4: u32 = 1u; // vec4 of columns an invocation owns
const XR: u32 = 8u;    // TY·ROWS4
const WR: u32 = 8u;    // TX·COLS4
const XB: u32 = 2u;    // vec4 of dy that an invocation brings in a step, of 16·XR
const WB: u32 = 1u;    // words of W that an invocation brings, of 8·WR
const STEP: u32 = 16u; // rows of a step, whose products stand one after another in the code

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  first_token: u32, // of the bound piece of dy
  padded16: u32,    // N / 16 of all shards, rounded up
  rows: u32,        // rows of W in this shard, a multiple of 4
  words: u32,       // K / 8
  dy_first: u32,    // first row of this shard
  packed: u32,      // word offsets in region
  codes: u32,
  nested: u32,
  offset: f32,      // of the double quantization
  first_block: u32, // the shard's first absmax within its first block of 256
  block_shift: u32, // log2(block size)
  col_tiles: u32,
  accumulate: u32,  // 1: dx +=
  part_rows: u32,   // of a part, a multiple of 16
  part_tiles: u32,  // workgroups of a part
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> region: array<u32>;         // nested map [256], codebook [16], then what the offsets name
@group(0) @binding(2) var<storage, read_write> dy: array<vec4<f32>>; // [tokens / 64, 16·padded16, 16]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [parts, tokens, 2·words]

var<workgroup> xs: array<array<vec4<f32>, XR>, 16>; // [n][4 tokens each]
var<workgroup> ws: array<array<vec4<f32>, WR>, 16>; // [n][4 columns each, first those of all words' low halves]
var<workgroup> codebook: array<f32, 16>;

// absmax of block b of this shard
fn scale(b: u32) -> f32 {
  let code = (region[params.codes + (b >> 2u)] >> ((b & 3u) * 8u)) & 255u;
  let nested = bitcast<f32>(region[params.nested + ((params.first_block + b) >> 8u)]);
  return bitcast<f32>(region[code]) * nested + params.offset;
}

fn decode(half: u32) -> vec4<f32> {
  return vec4<f32>(codebook[(half >> 4u) & 15u], codebook[half & 15u], codebook[(half >> 12u) & 15u], codebook[(half >> 8u) & 15u]);
}

// Word i of row n, and in scale_at its absmax. Beyond the matrix they may be any: dy is zero there, or the output is not stored.
fn codes_at(n: u32, i: u32) -> u32 {
  if (n >= params.rows || i >= params.words) { return 0u; }
  return region[params.packed + n * params.words + i];
}

fn scale_at(n: u32, i: u32) -> f32 {
  if (n >= params.rows || i >= params.words) { return 0.0; }
  return scale(((n * params.words + i) * 8u) >> params.block_shift);
}

// dx where it is added to, for a token and four columns that exist; parts are added up elsewhere.
fn start(t: u32, k4: u32) -> vec4<f32> {
  if (params.accumulate == 0u || t >= params.tokens || k4 >= params.words * 2u) { return vec4<f32>(); }
  return dx[t * params.words * 2u + k4];
}

// Writes four columns of a token where they exist.
fn store(part: u32, t: u32, k4: u32, v: vec4<f32>) {
  if (t >= params.tokens || k4 >= params.words * 2u) { return; }
  dx[(part * params.tokens + t) * params.words * 2u + k4] = v;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let part = group / params.part_tiles;
  let begin = part * params.part_rows;
  let end = min(begin + params.part_rows, params.rows);
  let tile = group % params.part_tiles / params.col_tiles;
  let k0 = group % params.part_tiles % params.col_tiles * WR; // in vec4
  let tx = lane % TX;
  let ty = lane / TX;
  if (lane < 16u) { codebook[lane] = bitcast<f32>(region[256u + lane]); }
  // unroll a ROWS4 {
  // unroll b COLS4 {
  let o_a0_b0 = tx + 0u /*b*/ * TX; // place in a row of ws
  let k_a0_b0 = k0 + 2u * (o_a0_b0 % (WR / 2u)) + o_a0_b0 / (WR / 2u);
  let t_a0_b0 = params.first_token + (tile * XR + ty + 0u /*a*/ * TY) * 4u;
  var acc0_a0_b0 = start(t_a0_b0, k_a0_b0);
  var acc1_a0_b0 = start(t_a0_b0 + 1u, k_a0_b0);
  var acc2_a0_b0 = start(t_a0_b0 + 2u, k_a0_b0);
  var acc3_a0_b0 = start(t_a0_b0 + 3u, k_a0_b0);
  // }
  // }
  // unroll i XB {
  let r_i0 = (lane + 0u /*i*/ * LANES) / XR; // which row of a step
  let m_i0 = (lane + 0u /*i*/ * LANES) % XR; // and which 4 tokens of it
  let q_i0 = tile * XR + m_i0;
  let dy_i0 = (q_i0 / 16u * 16u * params.padded16 + params.dy_first + r_i0) * 16u + q_i0 % 16u;
  // }
  // unroll j WB {
  let o_j0 = (lane + 0u /*j*/ * LANES) % (WR / 2u); // which word
  let n_j0 = (lane + 0u /*j*/ * LANES) / (WR / 2u); // of which row of a step
  let word_j0 = k0 / 2u + o_j0;
  // }
  for (var n0 = begin; n0 < end; n0 += 16u) {
    // unroll i XB {
    let d_i0 = dy[dy_i0 + 16u * n0];
    // }
    // unroll j WB {
    let codes_j0 = codes_at(n0 + n_j0, word_j0);
    let scale_j0 = scale_at(n0 + n_j0, word_j0);
    // }
    workgroupBarrier();
    // unroll i XB {
    xs[r_i0][m_i0] = d_i0;
    // }
    // unroll j WB {
    ws[n_j0][o_j0] = decode(codes_j0) * scale_j0;
    ws[n_j0][o_j0 + WR / 2u] = decode(codes_j0 >> 16u) * scale_j0;
    // }
    workgroupBarrier();
    // unroll n STEP {
    // unroll a ROWS4 {
    let x_n0_a0 = xs[0u /*n*/][ty + 0u /*a*/ * TY];
    // }
    // unroll b COLS4 {
    let w_n0_b0 = ws[0u /*n*/][tx + 0u /*b*/ * TX];
    // }
    // unroll a ROWS4 {
    // unroll b COLS4 {
    acc0_a0_b0 += x_n0_a0.x * w_n0_b0;
    acc1_a0_b0 += x_n0_a0.y * w_n0_b0;
    acc2_a0_b0 += x_n0_a0.z * w_n0_b0;
    acc3_a0_b0 += x_n0_a0.w * w_n0_b0;
    // }
    // }
    // }
  }
  // unroll a ROWS4 {
  // unroll b COLS4 {
  store(part, t_a0_b0, k_a0_b0, acc0_a0_b0);
  store(part, t_a0_b0 + 1u, k_a0_b0, acc1_a0_b0);
  store(part, t_a0_b0 + 2u, k_a0_b0, acc2_a0_b0);
  store(part, t_a0_b0 + 3u, k_a0_b0, acc3_a0_b0);
  // }
  // }
}
