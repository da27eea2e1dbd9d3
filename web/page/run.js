// A run: start, pause, stop, go on, and what is shown of it.
import { engine } from './engine.js';
import { isHub, openAgain } from './hub.js';
import { openData, openDemo, openKept, settle, setQuestions, showSettings } from './inputs.js';
import { guard, tell, tellError } from './messages.js';
import { addAnswer, clear, endPlay, replay } from './showing.js';
import { base, busy, bytesAllowed, config, data, doing, every, greeting, model, obstacle, plan, preview, questions, run, runs, sameModel,
  subject } from './state.js';
import { batch, effect } from './ui.js';

const none = { state: 'none' };
let request = null; // the engine's run

// trainRequest is what the engine needs for a run.
export const trainRequest = (settings) => ({ Settings: settings, Prompts: asked(), Every: every(settings.max_steps),
  MaxTokens: greeting.value.answer_tokens, Memory: bytesAllowed.value });

const asked = () => questions.value.map(({ text }) => text.trim()).filter(Boolean);

// start begins a run, or goes on with the paused one. Whatever the user wishes meanwhile is heard.
export async function start() {
  if (busy.value || obstacle.value) return;
  const before = run.value, going = before.state === 'paused', own = going ? config.value : null;
  run.value = { ...(going ? before : {}), state: 'starting' };
  doing.value = { text: 'Getting ready' };
  tell('run', null);
  if (!(await settle()) || run.value.state !== 'starting' || preview.value.found?.shortage) {
    run.value = before;
    return;
  }
  const settings = own ?? config.value; // a run that goes on has the settings that it began with
  batch(() => {
    base.value = settings; // they belong to the run, with what no field shows
    if (!going) clear(settings.max_steps);
    plan.value = null;
    run.value = { ...run.value, state: 'running', steps: settings.max_steps, step: going ? before.step : 0 };
  });
  request = engine.ask('train', { ...trainRequest(settings), Run: going ? before.id : '', Name: going ? '' : nameOf(),
    Page: { subject: subject.value?.id, questions: asked(), revision: model.value.source.revision } });
  try {
    const about = await request;
    await refresh();
    show(about, 'done');
  } catch (error) {
    await ended(error, going ? before : none);
  } finally {
    request = null;
    doing.value = null;
  }
}

// refresh brings the list of runs up to date, as far as the engine answers.
async function refresh() { runs.value = await engine.ask('runs').catch(() => runs.value); }

function nameOf() {
  const { kind, name } = data.value;
  if (kind === 'edited') return 'Your examples';
  return kind === 'subject' && subject.value ? subject.value.title : name.replace(/\.\w+$/, '');
}

function show(about, state) {
  const { page, ...rest } = about;
  run.value = { ...rest, revision: page?.revision, steps: about.max_steps, state };
}

// ended looks at what a run that did not come to its end has left.
async function ended(error, before) {
  const { id, state } = run.value;
  if (/storage is full|QuotaExceeded/.test(error.message)) {
    error.hint = 'make room, by deleting a run or a model that is kept here, and go on';
  }
  tellError('run', error, error.broken ? [{ label: 'Start the engine again', act: () => location.reload() }] : []);
  await refresh();
  const left = error.broken ? undefined : runs.value.find((each) => each.id === id);
  if (left && left.step > 0) {
    show(left, state === 'stopping' ? 'done' : 'paused');
    if (state === 'stopping') await askAll(left);
    return;
  }
  run.value = before;
  if (error.cancelled) tell('run', { kind: 'note', text: 'Nothing was saved: the run ended before its first step was done.' });
}

// askAll asks the adapter of a run that was stopped what the run would have been asked at its end.
async function askAll({ id, step }) {
  for (const prompt of asked()) {
    let answer = '';
    const answered = await guard('run', () => engine.ask('chat', { Settings: config.value ?? base.value, Run: id,
      Messages: { tuned: [{ role: 'user', content: prompt }] }, MaxTokens: greeting.value.answer_tokens },
    { told: ({ event, piece }) => { if (event === 'piece') answer += piece; } }));
    if (answered === undefined) return;
    addAnswer({ step, prompt, answer: answer.trim() }, step);
  }
}

// pause takes the run back after the step that it is at; forGood asks the adapter as it then is.
export function pause(forGood) {
  if (!busy.value) return;
  run.value = { ...run.value, state: forGood ? 'stopping' : 'pausing' };
  request?.cancel();
}

// leave puts the shown run away: it stays in the list.
export function leave() {
  if (busy.value) return;
  endPlay();
  if (run.value.state === 'none') return;
  const left = run.value;
  batch(() => {
    clear(1);
    run.value = none;
  });
  if (left.unfed) tell('data', null);
  const paused = left.state === 'paused';
  tell('run', { kind: 'note', text: paused ? `The run that stopped after step ${left.step} is in the list of runs.`
    : 'The run before is in the list of runs.', actions: [{ label: paused ? 'Go on with it' : 'Open it', act: () => openRun(left.id) }] });
}

// leaveForData puts the shown run away for other examples, unless it has none and waits for them.
export function leaveForData() {
  if (run.value.state !== 'paused' || !run.value.unfed) leave();
}

// openRun shows a run of the list: what it was asked and logged, with its settings and examples.
export async function openRun(id) {
  if (busy.value) return;
  tell('run', null);
  const found = await guard('runs', () => engine.ask('run', { Run: id }));
  if (!found) return;
  const { log: all, settings, page, ...about } = found;
  // what came after the checkpoint is done again
  const log = about.state === 'paused' ? all.filter(({ step = 0 }) => step <= about.step) : all;
  batch(() => {
    show({ ...about, page }, about.state === 'paused' ? 'paused' : 'done');
    if (about.state !== 'adapter') showSettings(settings); // one from elsewhere has none
    clear(settings.max_steps);
    const texts = page?.questions ?? [...new Set(log.filter(({ prompt }) => prompt).map(({ prompt }) => prompt))];
    if (texts.length) setQuestions(texts);
    replay(log, about.state === 'done' ? settings.max_steps : settings.max_steps + 1);
  });
  if (about.state === 'adapter') {
    // nothing is known of what it was trained on
  } else if (about.unfed) {
    tell('data', { kind: 'warning', text: `This run was trained on ${about.data || 'examples that did not come with it'}`,
      hint: 'open the same examples to go on with it' });
  } else await openData({ run: id, kind: 'run' });
  await rightModel({ ...about, revision: page?.revision });
}

// followModel says when the open model is not the one of the run that can go on, and offers that.
export function followModel() {
  effect(() => {
    if (sameModel.value) return tell('other model', null);
    const { demo, fingerprint, revision, model: name } = run.value;
    tell('other model', { kind: 'warning', text: `The open model is not the one of this run, ${name}. An adapter fits only the weights ` +
      'that it was trained on', actions: [{ label: `Open ${name}`,
      act: () => (demo ? openDemo({ keepSettings: true }) : reopen(fingerprint, name, revision)) },
      { label: 'Begin a new run', act: leave }] });
  });
}

// rightModel opens the model of a run where that is possible without the user, and offers it otherwise.
async function rightModel({ demo, fingerprint, model: name, revision }) {
  if (!name || model.value && (!fingerprint || fingerprint === model.value.fingerprint)) return;
  if (demo) {
    await openDemo({ keepSettings: true });
  } else if (isHub(name)) {
    await openAgain({ fingerprint, id: name, revision });
  } else if (!(await openKept(fingerprint, false))) {
    tell('model', { kind: 'warning', text: `This run was trained on ${name}`, hint: 'open the same model to go on with it',
      actions: [{ label: `Open ${name}`, act: () => reopen(fingerprint, name) }] });
  }
}

async function reopen(fingerprint, name, revision) {
  if (isHub(name)) return openAgain({ fingerprint, id: name, revision });
  if (await openKept(fingerprint, true)) return;
  tell('model', { text: `${name} is not where it was.`, hint: 'choose it again under Model' });
}
