// What the page holds, what it is doing, and what may be pressed.
import { $, showError } from './dom.js';

export const page = {
  phase: 'loading', // or ready, running, pausing, paused (a run can go on), done
  engine: null, greeting: null, chart: null, explain: null, answers: null, data: null, settings: null, progress: null,
  model: null, // what the engine says of the open one
  fetching: false, // a model is on its way from the hub
  dataReady: false,
  preview: null, // what a run would be with the present settings; null: none can start
  plan: null, // what the present run has reserved
  saved: null, // {step, settings, demo, model, data, fingerprint}: the run that can go on
  downloads: false, // there is an adapter
};

export const running = () => page.phase === 'running' || page.phase === 'pausing';

export function say(text) { $('status').textContent = text; }

// sameModel tells whether the open model is the one of the run that can go on, as far as that is known.
export function sameModel() {
  const { saved, model } = page;
  return !saved || !model || !saved.fingerprint || saved.fingerprint === model.fingerprint;
}

// setPhase shows the buttons of a phase and locks what a run is based on.
export function setPhase(next) {
  page.phase = next;
  const goes = running(), waits = next === 'paused', loads = next === 'loading' || page.fetching;
  const usable = page.model && page.dataReady && page.preview && sameModel();
  $('start').hidden = goes;
  $('start').textContent = waits ? `Go on from step ${page.saved.step}` : next === 'done' ? 'Train again' : 'Start';
  $('start').disabled = !usable || loads;
  $('pause').hidden = $('stop').hidden = !goes;
  $('pause').disabled = $('stop').disabled = next === 'pausing';
  $('fresh').hidden = !waits;
  for (const id of ['pick-model', 'pick-folder', 'embedded-model', 'open-again', 'hub-id', 'pick-checkpoint']) $(
    id).disabled = goes || loads;
  $('hub-go').disabled = goes; // it cancels, too
  for (const id of ['save-adapter', 'save-checkpoint']) $(id).disabled = goes || !page.downloads;
  page.settings.lock(goes || waits, waits ? 'These settings belong to the run that can go on. Start over to change them.' : '');
  page.data.lock(goes || loads);
  page.answers.lock(goes);
  $('ask').hidden = next !== 'done' && !(waits && usable);
}

// guard shows what goes wrong in its place, and then gives nothing.
export async function guard(place, work) {
  showError(place, null);
  try {
    return await work();
  } catch (error) {
    showError(place, error);
    return undefined;
  }
}
