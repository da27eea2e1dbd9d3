// The number of a workgroup in its kernel's linear range, of which a dispatch takes what begins at `base`, folded over
// three dimensions. The grid may have more workgroups than are left of the range: those behind its end have nothing to
// do.
fn group_of(wg: vec3<u32>, num: vec3<u32>, base: u32) -> u32 {
  return base + wg.x + num.x * (wg.y + num.y * wg.z);
}
