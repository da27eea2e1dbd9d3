// y[t, n] = sum_k x[t, k] * W[n, k] (+ bias[n]), W frozen in NF4 with double quantization (QLoRA, arXiv 2305.14314, equations 5 and 6).
//
// The variant for devices with subgroups, of whatever size. A workgroup owns LANES·TILE_T tokens × 4·TILE_Q rows of W, an invocation TILE_T of the tokens in named
// registers. All invocations need the same weights, so those of a subgroup share the work: each decodes other columns and hands them to the rest by shuffles.
// No barrier and no shared memory. Numerics: float32 products and sums in the order of k, as matmul_nf4_forward_registers.
// 0.516 bytes a weight and 2·T flops; x is read rows/(4·TILE_Q) times.

enable subgroups;
// What the loops depend on is the same for a whole subgroup, which the compiler cannot see.
diagnostic(off, subgroup_uniformity);

const LANES: u32 = 4u; // invocations of a workgroup
const TILE_T: u32 = 1u;
const TILE_Q: u32 = 1u; // groups of 4 rows of W

struct Params {
  group_base: u32,
  group_end: u32,
  tokens: u32,
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
  // Columns / 4 of a row that share one absmax: 16 or 8, or 2 where rows are no multiple of that. Not a constant: compilers of CPU
  // devices would unroll the loop over it and take a minute.
  span4: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> region: array<u32>;            // nested map [256], then what the offsets name
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>;     // [tokens, cols4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;     // [tokens, y_stride / 4]

// absmax of block b of this shard
fn scale(b: u32) -> f32 {
  let code = (region[params.codes + (b >> 2u)] >> ((b & 3u) * 8u)) & 255u;
  let nested = bitcast<f32>(region[params.nested + ((params.first_block + b) >> 8u)]);
  return bitcast<f32>(region[code]) * nested + params.offset;
}

fn pick(a: u32, b: u32, mask: vec4<u32>) -> vec4<u32> {
  return vec4<u32>(a) ^ (vec4<u32>(a ^ b) & mask);
}

fn mix4(a: vec4<u32>, b: vec4<u32>, mask: vec4<u32>) -> vec4<u32> {
  return a ^ ((a ^ b) & mask);
}

// Four codes of the low half of a word: the first element of a byte is its high nibble. Four levels of selection on the bits of the codebook.
fn decode(half: u32) -> vec4<f32> {
  let s = vec4<u32>(half) << vec4<u32>(24u, 28u, 16u, 20u);
  let m0 = vec4<u32>(vec4<i32>(s << vec4<u32>(3u)) >> vec4<u32>(31u));
  let m1 = vec4<u32>(vec4<i32>(s << vec4<u32>(2u)) >> vec4<u32>(31u));
  let m2 = vec4<u32>(vec4<i32>(s << vec4<u32>(1u)) >> vec4<u32>(31u));
  let m3 = vec4<u32>(vec4<i32>(s) >> vec4<u32>(31u));
  let q0 = mix4(pick(0xbf800000u, 0xbf3239b1u, m0), pick(0xbf066b30u, 0xbeca32a0u, m0), m1);
  let q1 = mix4(pick(0xbe91a24du, 0xbe3d353fu, m0), pick(0xbdba7871u, 0x00000000u, m0), m1);
  let q2 = mix4(pick(0x3da2faffu, 0x3e24cae3u, m0), pick(0x3e7c04ddu, 0x3ead033au, m0), m1);
  let q3 = mix4(pick(0x3ee1a4b8u, 0x3f1007abu, m0), pick(0x3f3913b3u, 0x3f800000u, m0), m1);
  return bitcast<vec4<f32>>(mix4(mix4(q0, q1, m2), mix4(q2, q3, m2), m3));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>,
        @builtin(local_invocation_index) lane: u32, @builtin(subgroup_invocation_id) id: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  // Where the numbers of a subgroup's invocations have gaps, each works for itself.
  let present = subgroupAdd(1u);
  let dense = subgroupAll(id < present);
  let size = select(1u, present, dense);
  let base = select(id, 0u, dense);
  let t0 = ((group / params.row_tiles) * LANES + lane) * TILE_T;
  let n0 = (group % params.row_tiles) * 4u * TILE_Q;
  let last_t = params.tokens - 1u;
  // unroll r TILE_T {
  let x_r0 = min(t0 + 0u /*r*/, last_t) * params.cols4;
  // }
  // unroll q TILE_Q {
  let n_q0 = min(n0 + 4u * 0u /*q*/, params.rows - 4u);
  let row0_q0 = n_q0 * params.cols4;
  let row1_q0 = row0_q0 + params.cols4;
  let row2_q0 = row1_q0 + params.cols4;
  let row3_q0 = row2_q0 + params.cols4;
  // unroll r TILE_T {
  var acc_r0_q0 = vec4<f32>();
  // }
  // }
  for (var span = 0u; span < params.cols4; span += params.span4) {
    // unroll q TILE_Q {
    let s0_q0 = scale(((row0_q0 + span) * 4u) >> params.block_shift);
    let s1_q0 = scale(((row1_q0 + span) * 4u) >> params.block_shift);
    let s2_q0 = scale(((row2_q0 + span) * 4u) >> params.block_shift);
    let s3_q0 = scale(((row3_q0 + span) * 4u) >> params.block_shift);
    // }
    for (var first = span; first < span + params.span4; first += size) {
      let own = min(first + id - base, params.cols4 - 1u);
      let shift = (own & 1u) * 16u;
      // unroll q TILE_Q {
      let w0_q0 = decode(region[params.packed + ((row0_q0 + own) >> 1u)] >> shift) * s0_q0;
      let w1_q0 = decode(region[params.packed + ((row1_q0 + own) >> 1u)] >> shift) * s1_q0;
      let w2_q0 = decode(region[params.packed + ((row2_q0 + own) >> 1u)] >> shift) * s2_q0;
      let w3_q0 = decode(region[params.packed + ((row3_q0 + own) >> 1u)] >> shift) * s3_q0;
      // }
      let count = min(size, span + params.span4 - first);
      for (var i = 0u; i < count; i++) {
        // unroll r TILE_T {
        let v_r0 = x[x_r0 + first + i];
        // }
        // unroll q TILE_Q {
        let g0_q0 = subgroupShuffle(w0_q0, base + i);
        let g1_q0 = subgroupShuffle(w1_q0, base + i);
        let g2_q0 = subgroupShuffle(w2_q0, base + i);
        let g3_q0 = subgroupShuffle(w3_q0, base + i);
        // unroll r TILE_T {
        acc_r0_q0 += vec4<f32>(dot(v_r0, g0_q0), dot(v_r0, g1_q0), dot(v_r0, g2_q0), dot(v_r0, g3_q0));
        // }
        // }
      }
    }
  }
  // unroll q TILE_Q {
  if (n0 + 4u * 0u /*q*/ < params.rows) {
    var bias_q0 = vec4<f32>();
    if (params.bias != 0xffffffffu) {
      let at = params.bias + n_q0;
      bias_q0 = bitcast<vec4<f32>>(vec4<u32>(region[at], region[at + 1u], region[at + 2u], region[at + 3u]));
    }
    // unroll r TILE_T {
    if (t0 + 0u /*r*/ < params.tokens) {
      y[(t0 + 0u /*r*/) * (params.y_stride / 4u) + (params.y_first + n_q0) / 4u] = acc_r0_q0 + bias_q0;
    }
    // }
  }
  // }
}
