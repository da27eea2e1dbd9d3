// What the page knows. Every view is drawn from it, and only actions (inputs.js, run.js, runs.js) change it.
import { check } from './fields.js';
import { computed, signal } from './ui.js';

export const arriving = signal({}); // files on their way: name → [bytes, of]
// Why nothing can be trained here: insecure, browser or adapter, where recordings are shown, or second or used, where
// another tab has it. Empty: it can.
export const absent = signal('');
export const greeting = signal(null); // what the engine says of itself and of this browser: hello
export const broken = signal(null); // why the engine cannot work; null: it does, or is still on its way

// What is being opened or fetched: {what, text, done, total, cancel}. Nothing starts meanwhile.
export const opening = signal(null);

export const subject = signal(null); // the gallery's chosen entry
export const model = signal(null); // what the engine says of the open one, with its source: {kind: demo, hub or files, id}
export const data = signal(null); // what the engine says of the open data set
// What in it is probably a mistake: {lines, others, looked, rows}; null: nobody has looked yet.
export const mistakes = signal(null);
export const edited = signal(null); // {pairs} or {text} that the engine has not read yet
export const base = signal({}); // the whole configuration, of which the fields show a part
export const values = signal({}); // what the fields hold, as texts
export const memory = signal(''); // GiB that a run may take, as text; empty: unknown
export const questions = signal([]); // [{key, text, before, now, step, after}]: what is asked, and answered

// What a run would be with what is open: {state: none, asked, there or failed, found, problem, config}.
export const preview = signal({ state: 'none' });

// The run that is shown: {state, id, name, step, steps, unfed: its examples are not kept, …}. Its state is none,
// starting, running, pausing, stopping, paused (it can go on) or done.
export const run = signal({ state: 'none' });
// What the engine is at while a run is under way: {text, done, total}; null: a step, of which it has nothing to tell.
export const doing = signal(null);
export const plan = signal(null); // what the present run has reserved
export const latest = signal(null); // its last step
export const curve = signal({ steps: new Map(), evals: new Map(), norms: new Map(), max: 0 });
// How likely the model finds the targets of the first batch, before the run and now: {first, now}, each {step,
// sequences}.
export const chances = signal({});
export const recorded = signal(false); // curve and answers are the gallery's, not the visitor's own
export const runs = signal([]); // that this browser holds

export const compared = signal(new Map()); // runs whose curves are drawn beside: id → {name, losses}

export const busy = computed(() => ['starting', 'running', 'pausing', 'stopping'].includes(run.value.state));
export const locked = computed(() => busy.value || run.value.state === 'paused'); // the settings belong to the run

export const bytesAllowed = computed(() => Math.round(Number(memory.value) * 2 ** 30) || 0);
export const faults = computed(() => ({ ...check(values.value, model.value),
  ...(Number(memory.value) >= 0 ? {} : { Memory: 'a number from 0' }) }));

// every is after how many steps a run is asked and evaluated.
export const every = (steps) => Math.max(1, Math.round(steps / 5));

// config is the whole configuration, or null where a field holds what no run could use.
export const config = computed(() => {
  if (Object.keys(faults.value).length || !base.value.max_steps) return null;
  const fields = Object.entries(values.value).map(([key, text]) => [key, typeof base.value[key] === 'number' ? Number(text) : text]);
  const all = { ...base.value, ...Object.fromEntries(fields) };
  return run.value.state === 'paused' ? all : { ...all, eval_steps: all.val_size > 0 ? every(all.max_steps) : 0 };
});

// sameModel tells whether the open model is the one of the run that can go on, as far as that is known.
export const sameModel = computed(() => run.value.state !== 'paused' || !model.value || !run.value.fingerprint ||
  run.value.fingerprint === model.value.fingerprint);

// obstacle is why Start is off, in words; empty: it is on.
export const obstacle = computed(() => {
  if (broken.value) return 'The engine does not work.';
  if (!greeting.value) return 'The engine is on its way…';
  if (opening.value) return opening.value.text;
  if (!model.value) return run.value.state === 'paused' ? `Open ${run.value.model} to go on.` : 'Choose a model first.';
  if (!sameModel.value) return `The open model is not the one of this run, ${run.value.model}.`;
  if (edited.value?.fault === 'empty' || (!data.value && !edited.value)) return 'Give it examples first.';
  if (edited.value?.fault) return 'The examples as they are now cannot be read.';
  if (!config.value) return 'A setting is out of its limits.';
  if (preview.value.state === 'failed') return 'This run cannot start yet.';
  if (preview.value.found?.shortage) return 'This run does not fit the memory.';
  return '';
});
