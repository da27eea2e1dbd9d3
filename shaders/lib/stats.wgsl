// What the elements of a step's 16 statistics are.
const LOSS: u32 = 0u;
const HITS: u32 = 1u;
const GRAD_NORM: u32 = 2u;
const SCALE: u32 = 3u; // of every gradient, by clipping and accumulation; 0 where the step is skipped
const SKIP: u32 = 4u;  // 1 where the step is skipped
const BAD: u32 = 5u;   // lowest block with a gradient that is not finite, or -1
