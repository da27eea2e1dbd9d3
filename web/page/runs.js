// The runs that this browser holds.
import { engine } from './engine.js';
import { offer } from './exporting.js';
import { forgetKept } from './keep.js';
import { guard } from './messages.js';
import { leave, openRun } from './run.js';
import { compared, run, runs } from './state.js';

export async function refreshRuns() { runs.value = await engine.ask('runs'); }

// save offers an adapter or a checkpoint of a run as a file.
export async function save(kind, id) {
  const { name, bytes } = await engine.ask(kind, { Run: id });
  offer(new Blob([bytes], { type: 'application/zip' }), name);
}

// restore takes files of a checkpoint or an adapter into the list, and opens it.
export async function restore(files) {
  const found = await guard('take', () => engine.ask('restore', {}, { files }));
  if (!found) return;
  await refreshRuns();
  await openRun(found.id);
}

const most = 3; // curves beside the shown one

// compare draws a run's losses beside those of the shown one, or takes them away.
export async function compare({ id, name, model }) {
  const next = new Map(compared.value);
  if (!next.delete(id)) {
    const found = await guard('runs', () => engine.ask('run', { Run: id }));
    if (!found) return;
    const losses = new Map(found.log.filter(({ loss }) => loss !== undefined).map(({ step, loss }) => [step, loss]));
    next.set(id, { name: name || model, losses, max: found.settings.max_steps });
    if (next.size > most) next.delete(next.keys().next().value);
  }
  compared.value = next;
}

export async function rename(id, name) {
  await guard('runs', () => engine.ask('rename', { Run: id, Name: name }));
  await refreshRuns();
}

export async function remove(id) {
  await guard('runs', () => engine.ask('delete', { Run: id }));
  if (run.value.id === id) leave();
  compared.value = new Map([...compared.value].filter(([each]) => each !== id));
  await refreshRuns();
}

// forgetAll removes every trace of the visitor, for a computer that others use too.
export async function forgetAll() {
  await guard('runs', () => engine.ask('forget'));
  await forgetKept();
  try { localStorage.clear(); } catch { /* it holds nothing */ }
  for (const name of await caches.keys().catch(() => [])) await caches.delete(name);
  location.reload();
}
