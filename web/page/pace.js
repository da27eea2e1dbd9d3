// How long a run takes: what is left of it, from what its steps, answers and evaluations have taken so far.
import { busy, every, latest, run } from './state.js';
import { computed, signal } from './ui.js';

const taken = signal({ step: [], round: [], eval: [] }); // seconds of the last ones

const add = (kind, seconds) => { taken.value = { ...taken.value, [kind]: [...taken.value[kind], seconds].slice(-15) }; };

const median = (list) => {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted.length ? (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2 : 0;
};

// left is the time to the run's end in seconds, its answers included; null where nothing was measured yet.
export const left = computed(() => {
  const { step: steps, round, eval: evals } = taken.value, last = latest.value;
  if (!busy.value || !last || !steps.length) return null;
  const rest = last.max_steps - last.step;
  const rounds = Math.ceil(rest / every(last.max_steps));
  return median(steps) * rest + (median(round) + median(evals)) * rounds;
});

// percent is how much of the run is done.
export const percent = computed(() => (run.value.steps ? Math.floor(100 * (run.value.step ?? 0) / run.value.steps) : 0));

// followPace takes the time of what the engine tells.
export function followPace(engine) {
  let round = null; // {step, since, took} of the answers under way
  engine.on('run', () => { taken.value = { step: [], round: [], eval: [] }; });
  engine.on('step', ({ step: { seconds } }) => add('step', seconds));
  engine.on('eval', ({ eval: { eval_seconds: seconds } }) => add('eval', seconds));
  engine.on('answering', ({ answering: { step } }) => {
    if (round?.step !== step) round = { step, since: performance.now() };
  });
  engine.on('answer', ({ answer: { step } }) => {
    if (round?.step !== step) return;
    round.took = (performance.now() - round.since) / 1e3; // grows with each of the round's answers
  });
  engine.on('step', () => {
    if (round?.took) add('round', round.took);
    round = null;
  });
}
