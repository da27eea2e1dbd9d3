// What is shown of a run: losses, answers and what the engine is at, as it tells them or as they were recorded.
import { engine } from './engine.js';
import { tell } from './messages.js';
import { followPace } from './pace.js';
import { busy, chances, curve, doing, latest, plan, preview, questions, recorded, run, subject } from './state.js';
import { batch } from './ui.js';

// clear forgets what is shown of a run. Answers stay until there are new ones.
export function clear(steps) {
  batch(() => {
    curve.value = { steps: new Map(), evals: new Map(), norms: new Map(), max: steps };
    latest.value = null;
    recorded.value = false;
    chances.value = {};
    questions.value = questions.value.map((each) => ({ ...each, old: true }));
  });
}

function onStep({ step: s }) {
  const { steps, norms, evals } = curve.value;
  steps.set(s.step, s.loss);
  norms.set(s.step, s.grad_norm);
  batch(() => {
    curve.value = { steps, norms, evals, max: s.max_steps };
    latest.value = s;
    if (run.value.state !== 'none') run.value = { ...run.value, step: s.step, steps: s.max_steps };
    doing.value = null;
  });
}

function onEval({ eval: e }) {
  const { steps, norms, evals, max } = curve.value;
  evals.set(e.step, e.eval_loss);
  curve.value = { steps, norms, evals, max };
}

// addAnswer shows an answer given after a step; step 0 is the base model, and after last it is final.
export function addAnswer({ step, prompt, answer }, last) {
  questions.value = questions.value.map((each) => {
    if (each.text.trim() !== prompt) return each;
    const text = answer || '(nothing)';
    if (step === 0) return { ...each, before: text, now: '', step: 0, last: false, old: false };
    return { ...each, now: text, step, last: step >= last, old: false };
  });
}

// replay shows what a run has logged; last is the step after which answers are final.
export function replay(log, last) {
  for (const line of log) {
    if (line.prompt) addAnswer(line, last);
    else if (line.eval_loss !== undefined) onEval({ eval: line });
    else if (line.loss !== undefined) onStep({ step: line });
  }
}

// play shows a recorded run, line by line, until something else takes its place.
let playing = 0;
export async function play(log, { id }) {
  const mine = ++playing, still = () => mine === playing && run.value.state === 'none' && subject.value?.id === id;
  const lines = log.trim().split('\n').map((line) => JSON.parse(line));
  const max = Math.max(...lines.map(({ max_steps: steps }) => steps ?? 0));
  clear(max);
  recorded.value = true;
  for (const line of lines) {
    if (!still()) return;
    replay([line], max);
    if (line.max_steps) await new Promise((resolve) => { setTimeout(resolve, 40); });
  }
}

// endPlay takes a recording away: what it shows is not of the examples that are open now.
export function endPlay() {
  playing++;
  if (!recorded.value) return;
  clear(1);
  questions.value = questions.value.map(({ key, text }) => ({ key, text, before: '', now: '', step: 0, last: false }));
}

// What the engine tells of work that takes its time.
const works = {
  encoding: () => 'Turning the examples into tokens',
  checking: () => 'Checking the arithmetic of this device',
  compiling: () => 'Compiling shaders',
  tuning: () => 'Measuring what is fastest here',
  load: ({ total }) => (total ? 'Quantizing the model to 4 bits' : 'Reading the model'),
  stepping: ({ step }) => `Step ${step}`,
  evaluating: () => 'Measuring on the examples held back',
  answering: ({ done, total }) => `Answer ${Math.min(done + 1, total)} of ${total}`,
  saving: () => 'Saving',
};

// followEvents shows the events of the engine.
export function followEvents() {
  const say = (work) => { if (busy.value) doing.value = work; };
  engine.on('run', ({ run: about }) => { run.value = { ...run.value, id: about.id, name: about.name }; });
  engine.on('preparing', ({ message }) => say({ text: message.replace(/[….]+$/, '') }));
  for (const [kind, text] of Object.entries(works)) engine.on(kind, ({ [kind]: part }) => say({ ...part, kind, text: text(part) }));
  engine.on('answering', ({ answering: { step, prompt, text } }) => {
    if (busy.value && text) addAnswer({ step, prompt, answer: text }, Infinity);
  });
  engine.on('reserved', ({ reserved }) => { if (busy.value) plan.value = reserved; });
  engine.on('answer', ({ answer }) => addAnswer(answer, curve.value.max));
  engine.on('probabilities', ({ probabilities: p }) => {
    chances.value = { first: chances.value.first ?? p, now: p };
  });
  engine.on('step', onStep);
  engine.on('eval', onEval);
  engine.on('warning', ({ message }) => {
    if (busy.value && !preview.value.found?.warnings.includes(message)) tell(`warning ${message}`, { kind: 'warning', text: message });
  });
  engine.on('lost', ({ message }) => say({ text: `The graphics device was lost (${message}). Going on from the last checkpoint` }));
  followPace(engine);
}
