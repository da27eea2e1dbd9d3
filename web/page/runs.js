// The runs that this browser holds.
import { engine } from './engine.js';
import { forgetKept } from './keep.js';
import { guard } from './messages.js';
import { leave, openRun } from './run.js';
import { run, runs } from './state.js';

export async function refreshRuns() { runs.value = await engine.ask('runs'); }

// save offers an adapter or a checkpoint of a run as a file.
export async function save(kind, id) {
  const { name, bytes } = await engine.ask(kind, { Run: id });
  const url = URL.createObjectURL(new Blob([bytes], { type: 'application/zip' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60e3);
}

// restore takes files of a checkpoint or an adapter into the list, and opens it.
export async function restore(files) {
  const found = await guard('take', () => engine.ask('restore', {}, { files }));
  if (!found) return;
  await refreshRuns();
  await openRun(found.id);
}

export async function rename(id, name) {
  await guard('runs', () => engine.ask('rename', { Run: id, Name: name }));
  await refreshRuns();
}

export async function remove(id) {
  await guard('runs', () => engine.ask('delete', { Run: id }));
  if (run.value.id === id) leave();
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
