// The subjects of the gallery: examples, questions and settings for the embedded model, and a recorded result of each.
import { fetchFile } from './fetching.js';
import { exclusively, openData, setQuestions, showSettings } from './inputs.js';
import { guard } from './messages.js';
import { leave } from './run.js';
import { play } from './showing.js';
import { batch, signal } from './ui.js';
import { busy, data, edited, greeting, model, opening, subject } from './state.js';

export const gallery = signal([]);

const text = async (name) => (await fetchFile(name)).text();

export async function fetchGallery() {
  const found = await guard('gallery', async () => JSON.parse(await text('gallery/index.json')),
    [{ label: 'Retry', act: async () => { await fetchGallery(); if (!data.value && gallery.value.length) choose(gallery.value[0]); } }]);
  if (found) gallery.value = found;
}

// choose opens a subject: its examples, questions, settings and recorded result. The last that was chosen wins.
export async function choose(entry) {
  if (busy.value) return;
  if (opening.value?.what === 'data') opening.value.cancel();
  leave();
  batch(() => {
    subject.value = entry;
    edited.value = null;
    setQuestions(entry.questions);
    if (greeting.value && (!model.value || model.value.source.kind === 'demo')) showSettings({ ...greeting.value.demo, ...entry.settings });
  });
  if (entry.record) guard('gallery', async () => play(await text(entry.record), entry)); // while the rest is opened
  if (!greeting.value) return;
  if (entry.data) {
    const rows = await guard('data', () => exclusively('data', 'Fetching the examples…', async ({ taken }) => {
      const found = await text(entry.data);
      return taken() ? null : found;
    }), [{ label: 'Retry', act: () => choose(entry) }]);
    if (subject.value !== entry) return;
    if (rows) await openData({ name: entry.data.split('/').at(-1), text: rows, kind: 'subject' });
    else subject.value = null; // other examples are open
  } else {
    batch(() => {
      data.value = data.value && { ...data.value, kind: 'edited' };
      edited.value = { pairs: [['', '']] };
    });
  }
}
