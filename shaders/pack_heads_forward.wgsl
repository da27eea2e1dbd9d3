// packed[h][w][i][d] = x[t, (h·G + g)·D + d] with t·G + g = w·W + i: the columns of a key/value head cut into windows
// of 64 KiB, each of W = 4096 / (D / 4) rows, so that a window can be bound as a uniform array. Rows are numbered as in
// attention_forward: token by token, and within one the G heads of the group. What is left of a window, and rows beyond
// the last, are zero.
//
// An invocation owns one vec4 of packed. 8 bytes an element.

import package::entry::{group_of};

struct Params {
  group_base: u32,
  group_end: u32,
  rows: u32,        // T·G
  group_heads: u32, // G
  kv_heads: u32,
  head_dim4: u32,   // D / 4
  windows: u32,     // of a head
  first4: u32,      // where the bound piece of packed begins
  count4: u32,      // its size, of kv_heads · windows · 4096
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;      // [T, kv_heads · G · D / 4]
@group(0) @binding(2) var<storage, read_write> packed: array<vec4<f32>>; // [count4] of [kv_heads, windows, 4096]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
  let local = group * 64u + lane;
  if (local >= params.count4) { return; }
  let i = params.first4 + local;
  let window_rows = 4096u / params.head_dim4;
  let window = i / 4096u;
  let kv_head = window / params.windows;
  let row_of_window = i % 4096u / params.head_dim4;
  let row = window % params.windows * window_rows + row_of_window;
  // in [T, H]
  let head = (row / params.group_heads * params.kv_heads + kv_head) * params.group_heads + row % params.group_heads;
  var v = vec4<f32>();
  if ((row_of_window < window_rows) & (row < params.rows)) { v = x[head * params.head_dim4 + i % 4096u % params.head_dim4]; }
  packed[local] = v;
}
