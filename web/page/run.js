// A run: start, pause, stop, go on, begin anew, and what is shown of it.
import { $, bytes, count, make, showError } from './dom.js';
import { refresh } from './inputs.js';
import { guard, page, running, say, setPhase } from './page.js';

let stopped = false; // the run was ended early, for good
let stepped = false; // since the run was started or taken up again

// request is what the engine needs for a run.
export function request(config, resume) {
  return { Settings: config, Resume: resume, Prompts: page.answers.prompts(), Every: Math.max(1, Math.round(config.max_steps / 5)),
    MaxTokens: page.greeting.answer_tokens, Memory: page.settings.memory() };
}

// train starts a run, or goes on with the saved one.
export async function train() {
  const { progress } = page;
  const resume = page.phase === 'paused';
  const config = page.settings.get();
  showError('run-error', null);
  page.plan = null;
  stopped = stepped = false;
  progress.pause();
  if (!resume) {
    page.saved = null;
    clear(config.max_steps);
  }
  setPhase('running');
  say('Preparing the graphics device…');
  try {
    await page.engine.ask('train', request(config, resume));
    say(`Done: ${count(config.max_steps)} steps. Ask it something, and take the adapter with you: training again replaces it.`);
    progress.pause();
    page.saved = null;
    page.downloads = true;
    setPhase('done');
  } catch (error) {
    if (!error.paused) showError('run-error', error);
    await ended(config);
  }
}

function clear(steps) {
  page.answers.clear();
  page.chart.clear(steps);
  page.explain.clear();
  page.progress.clear();
}

// ended looks at what a run that did not come to its end has left.
async function ended(config) {
  page.progress.pause();
  const now = await page.engine.ask('hello').catch(() => null);
  const saved = page.saved = now?.saved ?? null;
  page.downloads = saved !== null;
  if (saved && now.finished) { // the run before this one, which did not get to a step
    page.saved = null;
    say('This run did not start; the one before is still here.');
    setPhase('done');
  } else if (saved && stopped) {
    say(`Stopped after step ${saved.step}. The adapter is as far as it came.`);
    setPhase('done');
    for (const prompt of page.answers.prompts()) {
      const found = await guard('run-error',
        () => page.engine.ask('ask', { Settings: config, Prompt: prompt, MaxTokens: page.greeting.answer_tokens }));
      if (found) page.answers.add({ step: saved.step, prompt, answer: found.tuned }, saved.step);
    }
    page.saved = null;
  } else if (saved) {
    page.settings.set(saved.settings, page.model?.max_positions);
    say(`Paused after step ${saved.step} of ${saved.settings.max_steps}. The checkpoint is in this browser; you may close the page.`);
    setPhase('paused');
  } else {
    say('Nothing was saved: the run ended before its first step.');
    setPhase('ready');
  }
}

export function pause(forGood) {
  stopped = forGood;
  setPhase('pausing');
  say('Finishing this step and saving…');
  page.engine.ask('pause');
}

function onStep({ step: s }) {
  const tenth = Math.max(1, Math.round(s.max_steps / 10));
  if (page.phase === 'running' &&
    (s.step === 1 || s.step % tenth === 0 || !stepped)) say(`Training: step ${s.step} of ${count(s.max_steps)}.`);
  stepped = true;
  page.chart.add(s);
  page.explain.step(s, page.settings.get());
  page.progress.step(s, page.plan);
}

// replay shows what the saved run has logged so far.
export function replay(log) {
  const asked = [...new Set(log.filter(({ prompt }) => prompt).map(({ prompt }) => prompt))];
  if (asked.length) page.answers.set(asked);
  const last = page.saved.settings.max_steps;
  for (const line of log) {
    if (line.prompt) page.answers.add(line, page.greeting.finished ? last : last + 1);
    else if (line.loss !== undefined) onStep({ step: line });
  }
  page.progress.pause(`${page.saved.step} of ${count(last)}`);
}

export async function restore(files) {
  const found = await guard('files-error', () => page.engine.ask('restore', {}, files));
  if (!found) return;
  page.saved = found;
  page.downloads = false;
  clear(found.settings.max_steps);
  page.progress.at(found.step, found.settings.max_steps);
  page.settings.set(found.settings, page.model?.max_positions);
  page.phase = 'paused';
  await refresh();
  say(`A checkpoint after step ${found.step} of ${found.settings.max_steps}, of ${found.model} on ${found.data}. Open the same model and ` +
    `examples, then go on.`);
  $('run').focus();
}

export async function startOver() {
  await guard('run-error', () => page.engine.ask('forget'));
  page.saved = null;
  page.downloads = stopped = false;
  page.phase = 'ready';
  clear(1);
  showError('model-error', null);
  page.settings.set($('embedded-model').hidden ? page.greeting.demo : page.greeting.defaults, page.model?.max_positions);
  await refresh();
}

// follow shows the events of the engine.
export function follow(engine) {
  engine.on('load', ({ load, heap }) => {
    say(load.total ? `Quantizing the model to 4 bits: layer ${load.done} of ${load.total} (${bytes(heap.peak)} of it at once in ` +
    `the engine)…` : 'Reading the model…'); });
  engine.on('preparing', ({ message }) => { if (running()) say(message); });
  engine.on('reserved', ({ reserved }) => {
    page.plan = reserved;
    page.explain.share(page.settings.get(), reserved);
    say('Compiling the shaders and asking the model as it is…');
  });
  engine.on('answer', ({ answer }) => page.answers.add(answer, page.settings.get().max_steps));
  engine.on('step', onStep);
  engine.on('warning', ({ message }) => $('data-warnings').append(make('li', { text: message })));
  engine.on('lost', ({ message }) => {
    page.progress.pause();
    stepped = false;
    say(`The graphics device was lost (${message}). Going on from the last checkpoint…`);
  });
  engine.on('fatal', (error) => { showError('run-error', error); say('The engine has stopped.'); });
}
