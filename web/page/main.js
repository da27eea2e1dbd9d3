// The page: what is open, what runs, and what may be pressed.
import { alone, available } from './absence.js';
import { Answers } from './answers.js';
import { wireAsk } from './ask.js';
import { Chart } from './chart.js';
import { Data } from './data.js';
import { $, bytes, count, make, many, save, showError } from './dom.js';
import { Engine } from './engine.js';
import { Explain } from './explain.js';
import { onDrop, onPick } from './files.js';
import { showMask } from './mask.js';
import { Progress, tooMuch } from './progress.js';
import { Settings } from './settings.js';
import { startTheme } from './theme.js';

startTheme();

// phase is what the page is doing: loading, ready, running, pausing, paused (a run can go on), done.
let phase = 'loading';
let engine, greeting, chart, explain, answers, data, settings, progress;
let model = null, dataReady = false, preview = null, plan = null;
let saved = null; // {step, settings, demo, model, data}: the run that can go on
let stopped = false; // the run was ended early, for good
let stepped = false; // since the run was started or taken up again
let downloads = false;

const running = () => phase === 'running' || phase === 'pausing';

function say(text) { $('status').textContent = text; }

// setPhase shows the buttons of a phase and locks what a run is based on.
function setPhase(next) {
  phase = next;
  const goes = running(), waits = phase === 'paused';
  const usable = model && dataReady && preview;
  $('start').hidden = goes;
  $('start').textContent = waits ? `Go on from step ${saved.step}` : phase === 'done' ? 'Train again' : 'Start';
  $('start').disabled = !usable || phase === 'loading';
  $('pause').hidden = $('stop').hidden = !goes;
  $('pause').disabled = $('stop').disabled = phase === 'pausing';
  $('fresh').hidden = !waits;
  for (const id of ['pick-model', 'pick-folder', 'embedded-model', 'pick-checkpoint']) $(id).disabled = goes || phase === 'loading';
  for (const id of ['save-adapter', 'save-checkpoint']) $(id).disabled = goes || !downloads;
  settings.lock(goes || waits, waits ? 'These settings belong to the run that can go on. Start over to change them.' : '');
  data.lock(goes || phase === 'loading');
  answers.lock(goes);
  $('ask').hidden = phase !== 'done' && !(waits && usable);
}

async function guard(place, work) {
  showError(place, null);
  try {
    return await work();
  } catch (error) {
    showError(place, error);
    return undefined;
  }
}

// openModel opens files, or the embedded model without any.
async function openModel(files = [], folder = '') {
  const before = phase;
  phase = 'loading';
  say('Opening the model…');
  const info = await guard('model-error', () => engine.ask('model', { Name: folder }, files));
  phase = before === 'loading' ? 'ready' : before;
  if (!info) return refresh();
  const embedded = files.length === 0;
  model = info;
  $('model-name').textContent = embedded ? 'A tiny storyteller, embedded' : info.name;
  const facts = [['Architecture', info.architecture.replace('ForCausalLM', '')], ['Parameters', many(info.parameters)], ['Layers', `${info.layers} of width ${info.hidden}`], ['Vocabulary', count(info.vocab)], ['Longest sequence', `${count(info.max_positions)} tokens`]];
  $('model-facts').replaceChildren(...facts.flatMap(([name, value]) => [make('dt', { text: name }), make('dd', { text: value })]));
  $('embedded-model').hidden = embedded;
  if (!saved) settings.set(embedded ? greeting.demo : greeting.defaults, info.max_positions);
  if (!saved) answers.set(embedded ? greeting.heldout.slice(0, 3).map(({ Prompt }) => Prompt) : ['Name three primary colors.', 'What is the capital of France?', 'Give me a tip for staying healthy.']);
  await explain.model(info);
  return refresh();
}

// openData opens a file, a text, or the embedded examples. An edited table stays as it is on the screen.
async function openData({ name = '', text = '', files = [], kept = false, edited = false } = {}) {
  const info = await guard('data-error', () => engine.ask('data', { Name: name, Text: text, Saved: kept }, files));
  if (info) {
    dataReady = true;
    if (!edited) data.show(info);
    $('data-reset').hidden = !kept && !edited && name === '' && files.length === 0;
  } else {
    dataReady = false;
  }
  await refresh();
  return info;
}

let wanted = 0;
// refresh finds out what a run would be with the present settings.
async function refresh() {
  const mine = ++wanted, config = settings.get();
  if (!config || !dataReady) preview = null;
  if (model && dataReady && config && !running()) {
    let found = null, problem = null;
    try {
      found = await engine.ask('preview', { Settings: config });
      problem = tooMuch(found.memory);
    } catch (error) {
      problem = error;
    }
    if (mine !== wanted) return;
    preview = found;
    if (running()) return; // Start was pressed meanwhile
    const ofData = problem !== null && /^\w+ data set/.test(problem.message);
    showError('data-error', ofData ? problem : null);
    showError('plan-error', ofData ? null : problem);
    $('data-warnings').replaceChildren(...(found?.warnings ?? []).map((text) => make('li', { text })));
    if (found) {
      if (phase === 'ready' || phase === 'loading') progress.need(found.memory.peak_device_bytes);
      showMask(found.batch);
      explain.share(config);
      if (phase === 'ready' || phase === 'loading') say(`Ready: ${count(found.steps)} steps over ${count(found.report.samples)} examples, ${count(found.report.target_tokens)} tokens to learn.`);
    } else if (phase === 'ready') say('This run cannot start yet.');
  } else if (!config) say('A setting is missing or out of range.');
  setPhase(phase === 'loading' ? 'ready' : phase);
}

let timer = 0;
function later() {
  clearTimeout(timer);
  timer = setTimeout(refresh, 350);
}

// request is what the engine needs for a run.
function request(config, resume) {
  return { Settings: config, Resume: resume, Prompts: answers.prompts(), Every: Math.max(1, Math.round(config.MaxSteps / 5)), MaxTokens: greeting.answer_tokens };
}

// train starts a run, or goes on with the saved one.
async function train() {
  const resume = phase === 'paused';
  const config = settings.get();
  showError('run-error', null);
  plan = null;
  stopped = stepped = false;
  progress.pause();
  if (!resume) {
    saved = null;
    answers.clear();
    chart.clear(config.MaxSteps);
    explain.clear();
    progress.clear();
  }
  setPhase('running');
  say('Preparing the graphics device…');
  try {
    await engine.ask('train', request(config, resume));
    say(`Done: ${count(config.MaxSteps)} steps. Ask it something, and take the adapter with you: training again replaces it.`);
    progress.pause();
    saved = null;
    downloads = true;
    setPhase('done');
  } catch (error) {
    if (!error.paused) showError('run-error', error);
    await ended(config);
  }
}

// ended looks at what a run that did not come to its end has left.
async function ended(config) {
  progress.pause();
  const now = await engine.ask('hello').catch(() => null);
  saved = now?.saved ?? null;
  downloads = saved !== null;
  if (saved && now.finished) { // the run before this one, which did not get to a step
    saved = null;
    say('This run did not start; the one before is still here.');
    setPhase('done');
  } else if (saved && stopped) {
    say(`Stopped after step ${saved.step}. The adapter is as far as it came.`);
    setPhase('done');
    for (const prompt of answers.prompts()) {
      const found = await guard('run-error', () => engine.ask('ask', { Settings: config, Prompt: prompt, MaxTokens: greeting.answer_tokens }));
      if (found) answers.add({ step: saved.step, prompt, answer: found.tuned }, saved.step);
    }
    saved = null;
  } else if (saved) {
    settings.set(saved.settings, model?.max_positions);
    say(`Paused after step ${saved.step} of ${saved.settings.MaxSteps}. The checkpoint is in this browser; you may close the page.`);
    setPhase('paused');
  } else {
    say('Nothing was saved: the run ended before its first step.');
    setPhase('ready');
  }
}

function pause(forGood) {
  stopped = forGood;
  setPhase('pausing');
  say('Finishing this step and saving…');
  engine.ask('pause');
}

function onStep({ step: s }) {
  const tenth = Math.max(1, Math.round(s.max_steps / 10));
  if (phase === 'running' && (s.step === 1 || s.step % tenth === 0 || !stepped)) say(`Training: step ${s.step} of ${count(s.max_steps)}.`);
  stepped = true;
  chart.add(s);
  explain.step(s, settings.get());
  progress.step(s, plan);
}

// replay shows what the saved run has logged so far.
function replay(log) {
  const asked = [...new Set(log.filter(({ prompt }) => prompt).map(({ prompt }) => prompt))];
  if (asked.length) answers.set(asked);
  const last = saved.settings.MaxSteps;
  for (const line of log) {
    if (line.prompt) answers.add(line, greeting.finished ? last : last + 1);
    else if (line.loss !== undefined) onStep({ step: line });
  }
  progress.pause(`${saved.step} of ${count(last)}`);
}

async function restore(files) {
  const found = await guard('files-error', () => engine.ask('restore', {}, files));
  if (!found) return;
  saved = found;
  downloads = false;
  chart.clear(found.settings.MaxSteps);
  explain.clear();
  answers.clear();
  progress.clear();
  progress.at(found.step, found.settings.MaxSteps);
  settings.set(found.settings, model?.max_positions);
  phase = 'paused';
  await refresh();
  say(`A checkpoint after step ${found.step} of ${found.settings.MaxSteps}, of ${found.model} on ${found.data}. Open the same model and examples, then go on.`);
  $('run').focus();
}

async function startOver() {
  await guard('run-error', () => engine.ask('forget'));
  saved = null;
  downloads = false;
  stopped = false;
  phase = 'ready';
  chart.clear(1);
  explain.clear();
  progress.clear();
  settings.set($('embedded-model').hidden ? greeting.demo : greeting.defaults, model?.max_positions);
  answers.clear();
  await refresh();
}

function wire() {
  engine.on('load', ({ load, heap }) => { say(load.total ? `Quantizing the model to 4 bits: layer ${load.done} of ${load.total} (${bytes(heap.peak)} of it at once in the engine)…` : 'Reading the model…'); });
  engine.on('info', ({ message }) => { if (phase === 'running' && /^(Checking|All|Autotune)/.test(message)) say(message); });
  engine.on('plan', (event) => { if (event.plan) { plan = event.plan; explain.share(settings.get(), plan); say('Compiling the shaders and asking the model as it is…'); } });
  engine.on('answer', ({ answer }) => answers.add(answer, settings.get().MaxSteps));
  engine.on('step', onStep);
  engine.on('warning', ({ message }) => $('data-warnings').append(make('li', { text: message })));
  engine.on('lost', ({ message }) => { progress.pause(); stepped = false; say(`The graphics device was lost (${message}). Going on from the last checkpoint…`); });
  engine.on('fatal', (error) => { showError('run-error', error); say('The engine has stopped.'); });

  $('start').addEventListener('click', train);
  $('pause').addEventListener('click', () => pause(false));
  $('stop').addEventListener('click', () => pause(true));
  $('fresh').addEventListener('click', startOver);
  $('embedded-model').addEventListener('click', () => openModel());
  $('data-reset').addEventListener('click', () => openData());
  onPick('pick-model', 'file-model', (files) => openModel(files));
  onPick('pick-folder', 'file-folder', openModel);
  onPick('pick-data', 'file-data', (files) => openData({ files }));
  onPick('pick-checkpoint', 'file-checkpoint', restore);
  onDrop(() => !running() && phase !== 'loading', (kind, files, folder) => {
    if (kind === 'model') openModel(files, folder);
    else if (kind === 'checkpoint') restore(files);
    else openData({ files });
  });
  for (const kind of ['adapter', 'checkpoint']) {
    $(`save-${kind}`).addEventListener('click', async () => {
      const file = await guard('files-error', () => engine.ask(kind));
      if (file) save(file.name, file.bytes);
    });
  }
  wireAsk((op, more) => guard('run-error', () => engine.ask(op, { Settings: settings.get(), MaxTokens: greeting.answer_tokens, ...more })));
}

async function start() {
  if (!(await available())) return;
  await alone();
  engine = new Engine();
  $('workbench').hidden = false;
  settings = new Settings(later);
  chart = new Chart();
  progress = new Progress();
  explain = new Explain(engine);
  answers = new Answers(() => {});
  data = new Data((name, text, edited) => openData({ name, text, edited }));
  wire();
  try {
    greeting = await engine.ask('hello');
  } catch (error) {
    showError('run-error', error);
    say('The page cannot train here.');
    return;
  }
  $('device').textContent = `${greeting.adapter.name}${greeting.adapter.type === 'cpu' ? ' (software, slow)' : ''}`;
  $('device').hidden = false;
  saved = greeting.saved;
  if (saved) {
    settings.set(saved.settings);
    phase = greeting.finished ? 'done' : 'paused';
    downloads = true;
    replay(greeting.log);
  }
  const before = phase;
  await openData({ kept: Boolean(saved) });
  if (!saved || saved.demo) await openModel();
  if (saved && greeting.finished) {
    say(`The last run is done: ${saved.step} steps. Ask it something, and take the adapter with you: training again replaces it.`);
    saved = null;
  } else if (saved) {
    say(saved.demo ? `A run stopped after step ${saved.step} of ${saved.settings.MaxSteps}. You can go on with it.` : `A run of ${saved.model} stopped after step ${saved.step} of ${saved.settings.MaxSteps}. Choose the same model again to go on with it.`);
  }
  setPhase(before === 'loading' ? 'ready' : before);
  if (preview) engine.ask('prepare', request(settings.get(), false)).catch(() => {}); // what fails now fails again, and is told, at the start
}

start();
