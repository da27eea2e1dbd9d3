// The open model and examples, and what a run would be with them.
import { $, bytes, count, make, many, showError } from './dom.js';
import { forget, keep } from './handles.js';
import { showMask } from './mask.js';
import { guard, page, running, sameModel, say, setPhase } from './page.js';
import { risky } from './progress.js';

const questions = ['Name three primary colors.', 'What is the capital of France?', 'Give me a tip for staying healthy.'];

// openModel opens files, or the embedded model without any. Handles are those of the files, where the browser gave
// them.
export async function openModel(files = [], folder = '', handles = []) {
  const { engine, greeting, settings, answers, saved } = page;
  const before = page.phase;
  page.phase = 'loading';
  say('Opening the model…');
  const info = await guard('model-error', () => engine.ask('model', { Name: folder }, files));
  page.phase = before === 'loading' ? 'ready' : before;
  if (!info) return refresh();
  const embedded = files.length === 0;
  page.model = info;
  $('open-again').hidden = true;
  $('model-name').textContent = embedded ? 'A tiny storyteller, embedded' : info.name;
  const facts = [['Architecture', info.architecture.replace('ForCausalLM', '')], ['Parameters', many(info.parameters)],
    ['Layers', `${info.layers} of width ${info.hidden}`], ['Vocabulary', count(info.vocab)],
    ['Longest sequence', `${count(info.max_positions)} tokens`]];
  $('model-facts').replaceChildren(...facts.flatMap(([name, value]) => [make('dt', { text: name }), make('dd', { text: value })]));
  $('embedded-model').hidden = embedded;
  if (!sameModel()) {
    showError('model-error', { message: `This is another model than the one that the run was trained on, ${saved.model}. An adapter fits ` +
      `only the weights that it was trained on.`, hint: 'choose that model again, or start over with this one' });
  } else if (handles.length) await keep({ handles, folder });
  else await forget();
  if (!saved) settings.set(embedded ? greeting.demo : greeting.defaults, info.max_positions);
  if (!saved) answers.set(embedded ? greeting.heldout.slice(0, 3).map(({ Prompt }) => Prompt) : questions);
  await page.explain.model(info);
  return refresh();
}

// openData opens a file, a text, or the embedded examples. An edited table stays as it is on the screen.
export async function openData({ name = '', text = '', files = [], kept = false, edited = false } = {}) {
  const info = await guard('data-error', () => page.engine.ask('data', { Name: name, Text: text, Saved: kept }, files));
  page.dataReady = Boolean(info);
  if (info) {
    if (!edited) page.data.show(info);
    $('data-reset').hidden = !kept && !edited && name === '' && files.length === 0;
  }
  await refresh();
  return info;
}

// tooMuch shows a run that does not fit the memory, with a button for each setting whose change makes it fit.
function tooMuch({ needs_bytes: needs, has_bytes: has, ways }) {
  showError('plan-error', {
    message: `This run needs ${bytes(needs)} of memory; it may take ${bytes(has)}.`,
    hint: ways.length ? 'one of these changes is enough' : 'choose a smaller model, or allow more memory in the settings if there is more',
  });
  $('plan-error').append(make('p', { class: 'buttons' }, ...ways.map((way) => {
    const { label, apply } = page.settings.way(way);
    return make('button', { type: 'button', class: 'quiet', text: label, on: { click: apply } });
  })));
}

let wanted = 0;

// refresh finds out what a run would be with the present settings.
export async function refresh() {
  const mine = ++wanted, config = page.settings.get();
  if (!config || !page.dataReady) page.preview = null;
  if (page.model && page.dataReady && config && !running()) {
    let found = null, problem = null;
    try {
      found = await page.engine.ask('preview', { Settings: config, Memory: page.settings.memory() });
      problem = risky(found.memory, page.settings.memory());
    } catch (error) {
      problem = error;
    }
    if (mine !== wanted) return;
    page.preview = found?.shortage ? null : found;
    if (running()) return; // Start was pressed meanwhile
    show(found, problem, config);
  } else if (!config) say('A setting is missing or out of range.');
  setPhase(page.phase === 'loading' ? 'ready' : page.phase);
}

function show(found, problem, config) {
  const idle = page.phase === 'ready' || page.phase === 'loading';
  const ofData = problem?.input === 'data';
  showError('data-error', ofData ? problem : null);
  showError('plan-error', ofData ? null : problem);
  $('data-warnings').replaceChildren(...(found?.warnings ?? []).map((text) => make('li', { text })));
  if (found) {
    if (idle) page.progress.need(found.memory.peak_device_bytes, page.settings.memory());
    showMask(found.batch);
    page.explain.share(config);
  }
  if (found?.shortage) tooMuch(found.shortage);
  if (page.preview && idle) say(`Ready: ${count(found.steps)} steps over ${count(found.report.samples)} examples, ` +
    `${count(found.report.target_tokens)} tokens to learn.`);
  else if (idle) say('This run cannot start yet.');
}

let timer = 0;
export function later() {
  clearTimeout(timer);
  timer = setTimeout(refresh, 350);
}
