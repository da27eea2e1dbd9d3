// dx[t, k] (+)= sum_n dy[t, n] * W[n, k], the gradient through the frozen NF4 weight, read from the same packed layout as the forward pass.
//
// The variant for GPUs. A workgroup of TX × TY invocations owns 4·XR tokens × 4·WR columns and walks the rows of W in steps of 16, as matmul_nf4_forward_tiled
// walks the columns: dy is transposed into workgroup memory in 4×4 blocks; W is decoded word by word, a word being 8 neighbouring columns of a row, whose
// halves go to the two halves of a workgroup tile. The next step's operands are on their way while a step is multiplied.
// Numerics: float32 sums in the order of n, added to dx at the end where that is wanted. 64·(XR+WR)·4 + 64 bytes of workgroup memory.

const TX: u32 = 8u;    // invocations along the columns of W
const TY: u32 = 8u;    // and along the tokens
const LANES: u32 = 64u; // TX·TY
const ROWS4: u32 = 1u; // vec4 of tokens an invocation owns
const COLS4: u32 = 1u; // vec4 of columns an invocation owns
const XR: u32 = 8u;    // TY·ROWS4
const WR: u32 = 8u;    // TX·COLS4
const XB: u32 = 1u;    // 4×4 blocks of dy that an invocation brings, of 4·XR
const WB: u32 = 1u;    // words of W that an invocation brings, of 8·WR
const STEP: u32 = 4u;  // rows whose products stand one after another in the code

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  rows: u32,        // rows of W in this shard, a multiple of 4
  words: u32,       // K / 8
  dy_stride4: u32,  // N / 4, all shards
  dy_first4: u32,   // first row of this shard / 4
  packed: u32,      // word offsets in region
  codes: u32,
  nested: u32,
  offset: f32,      // of the double quantization
  first_block: u32, // the shard's first absmax within its first block of 256
  block_shift: u32, // log2(block size)
  col_tiles: u32,
  accumulate: u32,  // 1: dx +=
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> region: array<u32>;         // nested map [256], codebook [16], then what the offsets name
@group(0) @binding(2) var<storage, read_write> dy: array<vec4<f32>>; // [tokens, dy_stride4]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [tokens, 2·words]

var<workgroup> xs: array<array<vec4<f32>, XR>, 16>; // [n][4 tokens each]
var<workgroup> ws: array<array<vec4<f32>, WR>, 16>; // [n][4 columns each, first those of all words' low halves]
var<workgroup> codebook: array<f32, 16>;

// Where a workgroup tile of so many columns has its column 0 in rows 4·n4 to 4·n4+3.
fn swizzle(n4: u32, columns: u32) -> u32 { return (2u * n4) & (columns - 1u); }

// absmax of block b of this shard
fn scale(b: u32) -> f32 {
  let code = (region[params.codes + (b >> 2u)] >> ((b & 3u) * 8u)) & 255u;
  let nested = bitcast<f32>(region[params.nested + ((params.first_block + b) >> 8u)]);
  return bitcast<f32>(region[code]) * nested + params.offset;
}

fn decode(half: u32) -> vec4<f32> {
  return vec4<f32>(codebook[(half >> 4u) & 15u], codebook[half & 15u], codebook[(half >> 12u) & 15u], codebook[(half >> 8u) & 15u]);
}

fn tokens4(t: u32, n4: u32) -> vec4<f32> {
  if (t >= params.tokens || n4 * 4u >= params.rows) { return vec4<f32>(); }
  return dy[t * params.dy_stride4 + params.dy_first4 + n4];
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

// Writes four columns of a token where they exist.
fn store(t: u32, k4: u32, v: vec4<f32>) {
  if (t >= params.tokens || k4 >= params.words * 2u) { return; }
  let at = t * params.words * 2u + k4;
  var sum = v;
  if (params.accumulate == 1u) { sum += dx[at]; }
  dx[at] = sum;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let t0 = (group / params.col_tiles) * 4u * XR;
  let k0 = (group % params.col_tiles) * WR; // in vec4
  let tx = lane % TX;
  let ty = lane / TX;
  let n_lane = lane % 4u; // which 4 rows of a step the invocation brings of dy
  if (lane < 16u) { codebook[lane] = bitcast<f32>(region[256u + lane]); }
  // unroll a ROWS4 {
  // unroll b COLS4 {
  var acc0_a0_b0 = vec4<f32>();
  var acc1_a0_b0 = vec4<f32>();
  var acc2_a0_b0 = vec4<f32>();
  var acc3_a0_b0 = vec4<f32>();
  // }
  // }
  // unroll i XB {
  let m_i0 = (lane + 0u /*i*/ * LANES) / 4u; // which 4 tokens
  let t_i0 = t0 + 4u * m_i0;
  var r0_i0 = tokens4(t_i0, n_lane);
  var r1_i0 = tokens4(t_i0 + 1u, n_lane);
  var r2_i0 = tokens4(t_i0 + 2u, n_lane);
  var r3_i0 = tokens4(t_i0 + 3u, n_lane);
  // }
  // unroll j WB {
  let o_j0 = (lane + 0u /*j*/ * LANES) % (WR / 2u); // which word
  let n_j0 = (lane + 0u /*j*/ * LANES) / (WR / 2u); // of which row of a step
  let word_j0 = k0 / 2u + o_j0;
  var codes_j0 = codes_at(n_j0, word_j0);
  var scale_j0 = scale_at(n_j0, word_j0);
  // }
  for (var n0 = 0u; n0 < params.rows; n0 += 16u) {
    workgroupBarrier();
    // unroll i XB {
    if (m_i0 < XR) {
      let to = m_i0 ^ swizzle(n_lane, XR);
      xs[4u * n_lane][to] = vec4<f32>(r0_i0.x, r1_i0.x, r2_i0.x, r3_i0.x);
      xs[4u * n_lane + 1u][to] = vec4<f32>(r0_i0.y, r1_i0.y, r2_i0.y, r3_i0.y);
      xs[4u * n_lane + 2u][to] = vec4<f32>(r0_i0.z, r1_i0.z, r2_i0.z, r3_i0.z);
      xs[4u * n_lane + 3u][to] = vec4<f32>(r0_i0.w, r1_i0.w, r2_i0.w, r3_i0.w);
    }
    // }
    // unroll j WB {
    ws[n_j0][o_j0] = decode(codes_j0) * scale_j0;
    ws[n_j0][o_j0 + WR / 2u] = decode(codes_j0 >> 16u) * scale_j0;
    // }
    workgroupBarrier();
    let next = n0 + 16u;
    // unroll i XB {
    r0_i0 = tokens4(t_i0, next / 4u + n_lane);
    r1_i0 = tokens4(t_i0 + 1u, next / 4u + n_lane);
    r2_i0 = tokens4(t_i0 + 2u, next / 4u + n_lane);
    r3_i0 = tokens4(t_i0 + 3u, next / 4u + n_lane);
    // }
    // unroll j WB {
    codes_j0 = codes_at(next + n_j0, word_j0);
    scale_j0 = scale_at(next + n_j0, word_j0);
    // }
    for (var n4 = 0u; n4 < 4u; n4++) {
      // unroll n STEP {
      // unroll a ROWS4 {
      let x_n0_a0 = xs[4u * n4 + 0u /*n*/][(ty + 0u /*a*/ * TY) ^ swizzle(n4, XR)];
      // }
      // unroll b COLS4 {
      let w_n0_b0 = ws[4u * n4 + 0u /*n*/][tx + 0u /*b*/ * TX];
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
  }
  // unroll a ROWS4 {
  // unroll b COLS4 {
  let o_a0_b0 = tx + 0u /*b*/ * TX; // place in a row of ws
  let k_a0_b0 = k0 + 2u * (o_a0_b0 % (WR / 2u)) + o_a0_b0 / (WR / 2u);
  let t_a0_b0 = t0 + (ty + 0u /*a*/ * TY) * 4u;
  store(t_a0_b0, k_a0_b0, acc0_a0_b0);
  store(t_a0_b0 + 1u, k_a0_b0, acc1_a0_b0);
  store(t_a0_b0 + 2u, k_a0_b0, acc2_a0_b0);
  store(t_a0_b0 + 3u, k_a0_b0, acc3_a0_b0);
  // }
  // }
}
