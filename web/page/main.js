// The page: begins the engine, opens what was there before, and keeps what the user writes.
import { available } from './absence.js';
import { followSleep } from './asleep.js';
import { followAwake } from './awake.js';
import { followChat } from './chatting.js';
import { keepDraft, keptDraft, redo, restoreDraft, writeDraft } from './draft.js';
import { followEditing } from './editing.js';
import { engine } from './engine.js';
import { followExport } from './exporting.js';
import { choose, fetchGallery, gallery } from './gallery.js';
import { fetchDemo, followInputs, hinted, openDemo, prepareAhead } from './inputs.js';
import { followAddress, openNamed } from './links.js';
import { guard, tell, tellError } from './messages.js';
import { followDrops, followFields } from './picking.js';
import { followMistakes } from './mistakes.js';
import { followModel, openRun, pause, trainRequest } from './run.js';
import { followEvents } from './showing.js';
import { broken, busy, config, data, edited, greeting, memory, model, opening, preview, run, runs } from './state.js';
import { alone } from './tabs.js';
import { followTour } from './tour.js';
import { effect, html, render } from './ui.js';
import { App } from './views/app.js';
import { followBlock } from './views/explain.js';

render(html`<${App} />`, document.getElementById('app'));

async function hello() {
  broken.value = null;
  try {
    greeting.value = await engine.ask('hello');
    runs.value = greeting.value.runs;
  } catch (error) {
    broken.value = error;
    tellError('engine', error, [{ label: 'Retry', act: () => location.reload() }]);
    return false;
  }
  const { unkept } = greeting.value;
  if (unkept) tell('unkept', { kind: 'warning', text: `This browser keeps nothing for this page (${unkept}): runs are gone with the tab`,
    hint: 'download what you want to keep' });
  return true;
}

// begin opens what the address names, or what the user left: a draft, the run that was shown; or the first subject.
async function begin() {
  const draft = await keptDraft();
  const [newest] = runs.value;
  const last = runs.value.find(({ id }) => id === draft?.run) ?? (!draft && newest?.state === 'paused' ? newest : null);
  if (draft && !last) draft.run = undefined; // it ended before anything of it was saved
  const paused = last?.state === 'paused';
  const reopen = async () => {
    if (!last) return;
    await restoreDraft(draft);
    await openRun(last.id);
    if (draft) redo(draft);
  };
  if (await openNamed(draft, paused ? reopen : null)) return paused ? null : openDemo({ keepSettings: true });
  if (last) return reopen();
  await restoreDraft(draft);
  if (!data.value && !edited.value && gallery.value.length) await choose(gallery.value[0]);
  if (!model.value) {
    const lost = draft?.model?.kind === 'demo' ? null : draft?.model;
    await openDemo({ keepSettings: Boolean(draft?.values) && !lost });
    const name = lost?.id || lost?.folder || 'The model that was open';
    if (lost) tell('lost model', { kind: 'note', text: `${name} is not kept in this browser: the embedded one is open`,
      hint: 'choose yours again under Model' });
  }
  if (newest?.state === 'paused') tell('run', { kind: 'note', text: `A run of ${newest.model} stopped after step ${newest.step} of ` +
    `${newest.max_steps}.`, actions: [{ label: 'Go on with it', act: () => openRun(newest.id) }] });
}

// ahead lets the engine compile while nothing else is wanted.
function ahead() {
  let timer = 0, done = null;
  effect(() => {
    clearTimeout(timer);
    const ready = preview.value.state === 'there' && !preview.value.found.shortage && !busy.value && !opening.value &&
      run.value.state === 'none';
    if (ready && preview.value.config !== done) timer = setTimeout(() => {
      done = preview.value.config;
      prepareAhead(trainRequest(config.value));
    }, 1000);
  });
}

// giveWay brings everything to where another tab can go on: a run is paused after the step that it is at.
async function giveWay() {
  opening.value?.cancel();
  pause(false);
  await new Promise((resolve) => { effect(() => { if (!busy.value) resolve(); }); });
  await writeDraft();
  engine.end();
}

// watch shows what is recorded, where nothing can be trained. No engine and no model is fetched then.
async function watch() {
  await fetchGallery();
  followAddress();
  if (gallery.value.length && !(await openNamed())) choose(gallery.value[0]);
}

async function start() {
  if (!(await available())) return watch();
  await alone({ end: giveWay, cut: () => engine.end() });
  engine.begin();
  fetchDemo();
  if (hinted && hinted < 8) memory.value = String(hinted);
  engine.on('fatal', (error) => { broken.value = error; tellError('engine', error, [{ label: 'Reload', act: () => location.reload() }]); });
  followInputs();
  followEditing();
  followMistakes();
  followEvents();
  followModel();
  followAwake();
  followChat();
  followExport();
  followTour();
  followBlock();
  followFields();
  followDrops();
  followSleep();
  addEventListener('beforeunload', (event) => { if (busy.value) event.preventDefault(); });
  await fetchGallery();
  if (!(await hello())) return;
  followAddress();
  await guard('begin', begin);
  keepDraft();
  ahead();
}

start();
