// Model, examples and settings: what a run would be trained on, and what it would be.
import { engine } from './engine.js';
import { fetchFile } from './fetching.js';
import { all } from './fields.js';
import { bytes, sentence } from './format.js';
import { allowed, filesOf } from './handles.js';
import { keep, kept } from './keep.js';
import { guard, tell, tellError } from './messages.js';
import { base, busy, bytesAllowed, config, data, edited, greeting, model, opening, preview, questions, run, subject, values }
  from './state.js';
import { batch, effect, untracked } from './ui.js';

const kindOf = ({ what }) => (what === 'hub' ? 'model' : what);

// exclusively shows that something is being opened. It takes back what of its kind was being opened before, and waits
// for what is of another: examples do not take a model back.
export async function exclusively(what, text, work) {
  while (opening.value && kindOf(opening.value) !== kindOf({ what })) await opening.value.ended;
  opening.value?.cancel();
  let taken = false, end;
  const mine = { what, text, cancels: [], cancel: () => { taken = true; for (const cancel of mine.cancels) cancel(); },
    ended: new Promise((resolve) => { end = resolve; }) };
  const show = (change) => { if (opening.value?.cancel === mine.cancel) opening.value = { ...opening.value, ...change }; };
  opening.value = mine;
  const asking = (request) => { mine.cancels.push(() => request.cancel()); return request; };
  try {
    return await work({ show, asking, taken: () => taken, onCancel: (cancel) => mine.cancels.push(cancel) });
  } finally {
    if (opening.value?.cancel === mine.cancel) opening.value = null;
    end();
  }
}

// show puts a configuration into the fields, and keeps what of it they do not show.
export function showSettings(settings) {
  const most = model.value?.max_positions ?? Infinity;
  batch(() => {
    base.value = { ...settings };
    values.value = Object.fromEntries(all.map(({ key }) =>
      [key, String(key === 'max_seq_length' ? Math.min(settings[key], most) : settings[key])]));
  });
}

const demoFiles = ['config.json', 'generation_config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];
let demo = null;

// fetchDemo fetches the embedded model once; what failed is fetched again the next time.
export function fetchDemo() {
  demo ??= Promise.all(demoFiles.map((name) => fetchFile(`demo/model/${name}`)));
  demo.catch(() => { demo = null; });
  return demo;
}

// openModel opens files as a model. source tells where they came from: {kind: demo, hub or files, id, handles, folder}.
// Settings stay where the kind of model stays and keepSettings is set, and where they have been changed since then.
export async function openModel(files, source, { keepSettings = false, then = values.value } = {}) {
  return guard('model', () => exclusively('model', 'Opening the model…', async ({ asking }) => {
    const list = await files;
    const info = await asking(engine.ask('model', { Name: source.id ?? source.folder ?? '', Demo: source.kind === 'demo' },
      { files: list }));
    batch(() => {
      model.value = { ...info, source };
      if (!keepSettings && run.value.state !== 'paused') {
        const typed = Object.entries(values.value).filter(([key, text]) => text !== then[key]);
        showSettings(source.kind === 'demo' ? { ...greeting.value.demo, ...subject.value?.settings } : greeting.value.defaults);
        values.value = { ...values.value, ...Object.fromEntries(typed) };
      }
    });
    if (source.handles?.length) await keep(`model ${info.fingerprint}`, { handles: source.handles, folder: source.folder });
    return info;
  }), [{ label: 'Retry', act: () => openModel(source.kind === 'demo' ? fetchDemo() : files, source, { keepSettings, then }) }]);
}

export const openDemo = (options) => openModel(fetchDemo(), { kind: 'demo', id: 'the embedded model' }, options);

// openKept opens the model of a run from the handles that were kept. ask: the user has clicked, so the browser may ask
// for leave. It tells whether that was possible.
export async function openKept(fingerprint, ask) {
  const found = await kept(`model ${fingerprint}`);
  if (!found || !(await allowed(found.handles, ask))) return false;
  const files = await filesOf(found.handles).catch(() => null);
  if (!files) return false;
  return Boolean(await openModel(files, { kind: 'files', ...found }, { keepSettings: true }));
}

let before = null; // the last examples that a run could start with

// wayBack is the button that opens them again.
function wayBack() {
  if (!before || before === data.value || !(before.source?.file || before.source?.text)) return [];
  const { source, kind, name } = before;
  return [{ label: `Back to ${name}`, act: () => openData({ ...source, kind }) }];
}

// openData opens a file, a text, or what a run was trained on. columns (data_columns) says which are learned, where
// their names do not tell; where that is not clear, unclear is called with the error. What was open stays where it
// cannot be read.
export async function openData({ name = '', text = '', file = null, run: id = '', columns = '', kind = 'text' }, unclear) {
  return guard('data', () => exclusively('data', 'Reading the examples…', async ({ asking }) => {
    try {
      const info = await asking(engine.ask('data', { Name: name, Text: text, Run: id, Columns: columns }, { files: file ? [file] : [] }));
      batch(() => {
        if (preview.value.state === 'there') before = data.value;
        edited.value = null;
        data.value = { ...info, kind, source: { name: info.name, text, file, columns } };
      });
      return info;
    } catch (error) {
      if (!error.ambiguous || !unclear) throw error;
      unclear(error);
      return undefined;
    }
  }));
}

let reading = null;

// readEdited gives the engine what the user wrote, and tells whether it could be read.
async function readEdited() {
  const mine = edited.value;
  if (!mine) return true;
  const rows = mine.pairs?.filter(([question, answer]) => question.trim() || answer.trim());
  const text = mine.pairs ? rows.map(([question, answer]) => `${JSON.stringify({ messages: [
    { role: 'user', content: question }, { role: 'assistant', content: answer }] })}\n`).join('') : mine.text;
  const name = mine.pairs ? 'edited.jsonl' : 'pasted';
  const info = text.trim() ? await guard('data', () => engine.ask('data', { Name: name, Text: text })) : null;
  if (!info) {
    if (edited.value === mine) edited.value = { ...mine, fault: info === null ? 'empty' : 'unreadable' };
    return false;
  }
  batch(() => {
    data.value = { ...info, pairs: mine.pairs ?? info.pairs, kind: 'edited', source: { name, text } };
    if (edited.value === mine) edited.value = null;
  });
  return true;
}

// Everything that a run would be made of has a version: what the preview shows is of the newest, or is asked for.
let version = 0, seen = -1, timer = 0;

async function look() {
  const mine = version, settings = config.value;
  if (!settings || !model.value || !data.value) {
    preview.value = { state: 'none' };
    seen = mine;
    return;
  }
  if (preview.value.state !== 'there') preview.value = { state: 'asked' };
  try {
    const found = await engine.ask('preview', { Settings: settings, Memory: bytesAllowed.value });
    if (mine !== version) return;
    preview.value = { state: 'there', found, config: settings };
    tellOf(found);
  } catch (error) {
    if (mine !== version) return;
    preview.value = error.cancelled ? { state: 'none' } : { state: 'failed', problem: error }; // cancelled: the engine was ended
    tell('warnings', null);
    tellError('plan', error, error.input === 'data' ? wayBack() : []);
  }
  seen = mine;
}

// tellOf says what the preview warns of, and with a run that does not fit each change that makes it fit.
function tellOf({ warnings, shortage, memory: needed }) {
  tell('warnings', warnings.length ? { kind: 'warning', text: warnings.map(sentence).join(' ') } : null);
  if (!shortage) return tell('plan', risky(needed, bytesAllowed.value));
  const { needs_bytes: needs, has_bytes: has } = shortage, ways = shortage.ways ?? []; // none: no change is enough
  tell('plan', { text: `This run needs ${bytes(needs)} of memory; it may take ${bytes(has)}.`,
    hint: ways.length ? 'one of these changes is enough' : 'choose a smaller model, or allow more memory in the settings if there is more',
    actions: ways.map(({ setting, to }) => ({ label: `${labelOf(setting)}: ${to}`,
      act: () => { values.value = { ...values.value, [setting]: String(to) }; } })) });
}

const labelOf = (setting) => all.find(({ key }) => key === setting)?.label ?? setting;

// hinted is the computer's memory in GiB as the browser tells it: a power of two, at most 8 in most browsers, which
// then may be any more; 0: it does not.
export const hinted = navigator.deviceMemory ?? 0;

// risky tells before anything is loaded that a run takes most of the memory there is, if it says no more than that it
// may not be there.
function risky({ peak_device_bytes: needs, rows }, room) {
  const has = room || hinted * 2 ** 30;
  if (!has || needs < 0.6 * has || (room && needs > room)) return null;
  const [largest] = [...rows].sort((a, b) => b.device_bytes - a.device_bytes);
  return { kind: 'warning', text: `This run needs about ${bytes(needs)} of memory, most of it for ${largest.name}; this computer says it ` +
    `has ${bytes(has)}${room ? '' : ' or more'}. The browser may close the tab.`,
  hint: 'choose a smaller model, a shorter sequence length or a smaller batch' };
}

// settle resolves when the engine has what the screen shows, and the preview is of it.
export function settle() {
  clearTimeout(timer);
  const turn = async () => {
    while (edited.value || seen !== version) {
      if (edited.value && (opening.value || edited.value.fault || !(await readEdited()))) return false;
      if (seen !== version) await look();
    }
    return preview.value.state === 'there';
  };
  const next = (reading ?? Promise.resolve()).then(turn, turn);
  reading = next;
  return next;
}

function later(wait) {
  clearTimeout(timer);
  timer = setTimeout(() => { if (!busy.value && !opening.value) settle(); }, wait);
}

// heldBack is how many of so many rows are held back where the user has not said: not more than a tenth.
const heldBack = (rows) => Math.min(base.value.val_size ?? 0, Math.floor(rows / 10));

// followHeldBack fits the field to the examples until the user changes it.
function followHeldBack() {
  let mine = '';
  effect(() => {
    const rows = data.value?.rows, wished = base.value.val_size;
    if (rows === undefined || !(wished >= 1) || run.value.state !== 'none') return; // a run has its own
    const { val_size: now } = untracked(() => values.value);
    if (now !== mine && now !== String(wished)) return;
    mine = String(heldBack(rows));
    if (now !== mine) values.value = { ...untracked(() => values.value), val_size: mine };
  });
}

// follow keeps the preview up to date with what changes.
export function followInputs() {
  followHeldBack();
  let first = true;
  effect(() => {
    void [config.value, model.value, data.value, bytesAllowed.value];
    version++;
    if (!first) later(60);
    first = false;
  });
  effect(() => { if (edited.value && !edited.value.fault) later(500); });
  effect(() => { if (!opening.value && !busy.value) later(60); });
}

// prepareAhead compiles shaders and finds out how long the run will take while the user still looks at the page; every
// other request makes it give way.
export async function prepareAhead(request) {
  const { found } = preview.value;
  try {
    const { seconds } = await engine.ask('prepare', request, { background: true });
    if (preview.value.found === found) preview.value = { ...preview.value, seconds };
  } catch { /* it made way, or what is wrong is told at the start */ }
}

// setQuestions shows questions without answers.
let keys = 0;
export function setQuestions(texts) {
  questions.value = texts.map((text) => ({ key: ++keys, text, before: '', now: '', step: 0, last: false }));
}

export const usualQuestions = ['Name three primary colors.', 'What is the capital of France?', 'Give me a tip for staying healthy.'];
