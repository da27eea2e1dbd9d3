// dx[t, k] (+)= sum_n dy[t, n] * W[n, k], the gradient through the frozen NF4 weight, read from the same packed layout as the forward pass.
//
// The variant for devices with subgroups, of whatever size. A workgroup owns LANES·TILE_T tokens × 8 columns, a word of each row, an invocation TILE_T of the tokens
// in named registers. The invocations of a subgroup share the decoding: each takes other rows and hands them to the rest by shuffles (see
// matmul_nf4_forward_subgroup). No barrier and no shared memory.
// Numerics: float32, in the order of n, from dx on when accumulating: cutting W by rows gives the same bytes. 0.516 bytes a weight and 2·T flops; dy is read K/8 times.

enable subgroups;
// What the loops depend on is the same for a whole subgroup, which the compiler cannot see.
diagnostic(off, subgroup_uniformity);

const LANES: u32 = 4u; // invocations of a workgroup
const TILE_T: u32 = 1u;
const QUAD: u32 = 4u;   // rows of W for one vec4 of dy

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
@group(0) @binding(1) var<storage, read> region: array<u32>;         // nested map [256], then what the offsets name
@group(0) @binding(2) var<storage, read_write> dy: array<vec4<f32>>; // [tokens, dy_stride4]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [tokens, 2·words]

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
  let t0 = ((group / params.col_tiles) * LANES + lane) * TILE_T;
  let word = group % params.col_tiles;
  let last_t = params.tokens - 1u;
  // unroll r TILE_T {
  let dy_r0 = min(t0 + 0u /*r*/, last_t) * params.dy_stride4 + params.dy_first4;
  let at_r0 = ((t0 + 0u /*r*/) * params.words + word) * 2u;
  var lo_r0 = vec4<f32>();
  var hi_r0 = vec4<f32>();
  if (params.accumulate == 1u && t0 + 0u /*r*/ < params.tokens) {
    lo_r0 = dx[at_r0];
    hi_r0 = dx[at_r0 + 1u];
  }
  // }
  let quads = params.rows / QUAD;
  for (var first = 0u; first < quads; first += size) {
    let own = min(first + id - base, quads - 1u) * QUAD;
    // unroll j QUAD {
    let i_j0 = (own + 0u /*j*/) * params.words + word;
    let s_j0 = scale((i_j0 * 8u) >> params.block_shift);
    let codes_j0 = region[params.packed + i_j0];
    let a_j0 = decode(codes_j0) * s_j0;
    let b_j0 = decode(codes_j0 >> 16u) * s_j0;
    // }
    let count = min(size, quads - first);
    for (var i = 0u; i < count; i++) {
      // unroll r TILE_T {
      let v_r0 = dy[dy_r0 + first + i];
      // }
      // unroll j QUAD {
      let g_j0 = subgroupShuffle(a_j0, base + i);
      let h_j0 = subgroupShuffle(b_j0, base + i);
      // unroll r TILE_T {
      lo_r0 += v_r0[0u /*j*/] * g_j0;
      hi_r0 += v_r0[0u /*j*/] * h_j0;
      // }
      // }
    }
  }
  // unroll r TILE_T {
  if (t0 + 0u /*r*/ < params.tokens) {
    dx[at_r0] = lo_r0;
    dx[at_r0 + 1u] = hi_r0;
  }
  // }
}
