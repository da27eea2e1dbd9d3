// y[t, n] = sum_k x[t, k] * W[n, k] (+ bias[n]), W frozen in NF4 with double quantization: the variant for GPUs.
//
// A workgroup of TX × TY invocations owns 4·XR tokens × 4·WR rows of W and walks K in steps of 16. Each step brings both operands into workgroup memory, k-major
// as vec4: x as pack_tiles_forward laid it, W decoded through a table in workgroup memory and transposed in 4×4 blocks. Then an invocation multiplies its
// 4·ROWS4 × 4·COLS4 outputs from registers: ROWS4+COLS4 loads serve 16·ROWS4·COLS4 products. An absmax is looked up where its block of W begins. The rows of W within a
// workgroup tile are swapped by k, so that the transposed blocks of neighbouring invocations go to different banks. The step is written out, for what an index costs
// that is not a constant. K may be cut into parts, each summed by workgroups of its own into its own y: a GPU is left idle by a last round of workgroups that fills it in part.
// Numerics: float32 sums in the order of k, of each part. 256·(XR+WR) + 64 bytes of workgroup memory.

const TX: u32 = 8u;    // invocations along the rows of W
const TY: u32 = 8u;    // and along the tokens
const LANES: u32 = 64u; // TX·TY
const ROWS4: u32 = 1u; // vec4 of tokens an invocation owns
const COLS4: u32 = 1u; // vec4 of outputs an invocation owns
const XR: u32 = 8u;    // TY·ROWS4
const WR: u32 = 8u;    // TX·COLS4
const XB: u32 = 2u;    // vec4 of x that an invocation brings in a step, of 16·XR
const WB: u32 = 1u;    // 4×4 blocks of W that an invocation brings, of 4·WR
const STEP: u32 = 16u; // columns of a step, whose products stand one after another in the code

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
  first_token: u32, // of the bound piece of x
  padded16: u32,    // K / 16, rounded up
  rows: u32,        // rows of W in this shard, a multiple of 4
  cols4: u32,       // K / 4
  y_stride: u32,    // N, all shards
  y_first: u32,     // first row of this shard
  packed: u32,      // word offsets in region
  codes: u32,
  nested: u32,
  bias: u32,        // 0xffffffff: none
  offset: f32,      // of the double quantization
  first_block: u32, // the shard's first absmax within its first block of 256
  block_shift: u32, // log2(block size)
  row_tiles: u32,
  span4: u32,       // columns / 4 of a row that share one absmax
  part4: u32,       // columns / 4 of a part, a multiple of span4 and of 4
  part_tiles: u32,  // workgroups of a part
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> region: array<u32>;        // nested map [256], codebook [16], then what the offsets name
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>; // [tokens / 64, 16·padded16, 16]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [parts, tokens, y_stride / 4]

var<workgroup> xs: array<array<vec4<f32>, XR>, 16>; // [k][4 tokens each]
var<workgroup> ws: array<array<vec4<f32>, WR>, 16>; // [k][4 rows of W each]
var<workgroup> codebook: array<f32, 16>;

// Where ws has its first rows of W at columns 4·k4 to 4·k4+3 of a step.
fn swizzle(k4: u32) -> u32 { return (2u * k4) & (WR - 1u); }

// absmax of block b of this shard
fn scale(b: u32) -> f32 {
  let code = (region[params.codes + (b >> 2u)] >> ((b & 3u) * 8u)) & 255u;
  let nested = bitcast<f32>(region[params.nested + ((params.first_block + b) >> 8u)]);
  return bitcast<f32>(region[code]) * nested + params.offset;
}

// absmax of four rows from row n on at column 4·k
fn scales(n: u32, k: u32) -> vec4<f32> {
  if (n >= params.rows || k >= params.cols4) { return vec4<f32>(); }
  let at = (n * params.cols4 + k) * 4u;
  let row = params.cols4 * 4u;
  let shift = params.block_shift;
  return vec4<f32>(scale(at >> shift), scale((at + row) >> shift), scale((at + 2u * row) >> shift), scale((at + 3u * row) >> shift));
}

// The words with the codes of four rows from row n on at column 4·k. Beyond the matrix they may be any: x is zero there, or the output is not stored.
fn words(n: u32, k: u32) -> vec4<u32> {
  if (n >= params.rows || k >= params.cols4) { return vec4<u32>(); }
  let at = n * params.cols4 + k;
  let shift = (k & 1u) * 16u;
  return vec4<u32>(region[params.packed + (at >> 1u)], region[params.packed + ((at + params.cols4) >> 1u)],
                   region[params.packed + ((at + 2u * params.cols4) >> 1u)], region[params.packed + ((at + 3u * params.cols4) >> 1u)]) >> vec4<u32>(shift);
}

// Element of four rows' codes at the bits from shift on.
fn decode(codes: vec4<u32>, shift: u32) -> vec4<f32> {
  let i = (codes >> vec4<u32>(shift)) & vec4<u32>(15u);
  return vec4<f32>(codebook[i.x], codebook[i.y], codebook[i.z], codebook[i.w]);
}

// Writes four outputs of a token that exist; the bias is in the first part.
fn store(part: u32, t: u32, n: u32, v: vec4<f32>) {
  if (t >= params.tokens || n >= params.rows) { return; }
  var b = vec4<f32>();
  if (params.bias != 0xffffffffu && part == 0u) {
    let at = params.bias + n;
    b = bitcast<vec4<f32>>(vec4<u32>(region[at], region[at + 1u], region[at + 2u], region[at + 3u]));
  }
  y[((part * params.tokens + t) * params.y_stride + params.y_first + n) / 4u] = v + b;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let part = group / params.part_tiles;
  let begin = part * params.part4;
  let end = min(begin + params.part4, params.cols4);
  let tile = group % params.part_tiles / params.row_tiles;
  let n0 = group % params.part_tiles % params.row_tiles * 4u * WR;
  let tx = lane % TX;
  let ty = lane / TX;
  let k_lane = lane % 4u; // which 4 columns of a step the invocation brings of W
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
  let k_i0 = (lane + 0u /*i*/ * LANES) / XR; // which column of a step
  let m_i0 = (lane + 0u /*i*/ * LANES) % XR; // and which 4 tokens of it
  let q_i0 = tile * XR + m_i0;
  let x_i0 = (q_i0 / 16u * 16u * params.padded16 + k_i0) * 16u + q_i0 % 16u;
  // }
  // unroll j WB {
  let o_j0 = (lane + 0u /*j*/ * LANES) / 4u; // which 4 rows of W
  let n_j0 = n0 + 4u * o_j0;
  var scales_j0 = vec4<f32>();
  // }
  for (var k0 = begin; k0 < end; k0 += 4u) {
    // unroll i XB {
    let r_i0 = x[x_i0 + 64u * k0];
    // }
    if ((k0 & (params.span4 - 1u)) == 0u) {
      // unroll j WB {
      scales_j0 = scales(n_j0, k0 + k_lane);
      // }
    }
    // unroll j WB {
    let codes_j0 = words(n_j0, k0 + k_lane);
    // }
    workgroupBarrier();
    // unroll i XB {
    xs[k_i0][m_i0] = r_i0;
    // }
    // unroll j WB {
    if (o_j0 < WR) {
      let to = o_j0 ^ swizzle(k_lane);
      ws[4u * k_lane][to] = decode(codes_j0, 4u) * scales_j0;
      ws[4u * k_lane + 1u][to] = decode(codes_j0, 0u) * scales_j0;
      ws[4u * k_lane + 2u][to] = decode(codes_j0, 12u) * scales_j0;
      ws[4u * k_lane + 3u][to] = decode(codes_j0, 8u) * scales_j0;
    }
    // }
    workgroupBarrier();
    // unroll k STEP {
    // unroll a ROWS4 {
    let x_k0_a0 = xs[0u /*k*/][ty + 0u /*a*/ * TY];
    // }
    // unroll b COLS4 {
    let w_k0_b0 = ws[0u /*k*/][(tx + 0u /*b*/ * TX) ^ swizzle(0u /*k*/ / 4u)];
    // }
    // unroll a ROWS4 {
    // unroll b COLS4 {
    acc0_a0_b0 += x_k0_a0.x * w_k0_b0;
    acc1_a0_b0 += x_k0_a0.y * w_k0_b0;
    acc2_a0_b0 += x_k0_a0.z * w_k0_b0;
    acc3_a0_b0 += x_k0_a0.w * w_k0_b0;
    // }
    // }
    // }
  }
  // unroll a ROWS4 {
  // unroll b COLS4 {
  let n_a0_b0 = n0 + (tx + 0u /*b*/ * TX) * 4u;
  let t_a0_b0 = params.first_token + (tile * XR + ty + 0u /*a*/ * TY) * 4u;
  store(part, t_a0_b0, n_a0_b0, acc0_a0_b0);
  store(part, t_a0_b0 + 1u, n_a0_b0, acc1_a0_b0);
  store(part, t_a0_b0 + 2u, n_a0_b0, acc2_a0_b0);
  store(part, t_a0_b0 + 3u, n_a0_b0, acc3_a0_b0);
  // }
  // }
}
