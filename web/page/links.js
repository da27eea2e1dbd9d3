// What the page's address names: #set=ID a subject of the gallery, #share=… what somebody shared. It is taken out of
// the address once it is open, so that a reload shows what the visitor made of it.
import { draftNow, restoreDraft } from './draft.js';
import { choose, gallery } from './gallery.js';
import { openFromHub } from './hub.js';
import { openData, openDemo, setQuestions, showSettings } from './inputs.js';
import { guard, tell } from './messages.js';
import { leave } from './run.js';
import { contents, read } from './share.js';
import { absent, busy, edited, greeting, locked, model } from './state.js';
import { batch } from './ui.js';

// named takes what the address names: {set} or {share}; null: nothing.
function named() {
  const [, kind, value] = /^#(set|share)=(.*)$/.exec(location.hash) ?? [];
  if (!kind) return null;
  history.replaceState(null, '', location.pathname + location.search);
  return { [kind]: value };
}

const worthKeeping = (draft) =>
  Boolean(draft?.values && (draft.pairs || (draft.data && draft.data.kind !== 'subject' && draft.data.kind !== 'run')));

// back offers what the link took the place of, where the visitor had made something of it.
const back = (draft) => (worthKeeping(draft) ? [{ label: 'Back to what was here', act: () => {
  if (busy.value) return;
  leave();
  tell('link', null);
  restoreDraft(draft);
} }] : []);

async function openSet(id, draft) {
  const entry = gallery.value.find((each) => each.id === id);
  if (!entry) {
    tell('link', { kind: 'warning', text: `The link names a subject that is not here (${id.slice(0, 40)})`,
      hint: 'choose one of those above' });
    return false;
  }
  await choose(entry);
  const actions = back(draft);
  tell('link', actions.length ? { kind: 'note', text: `“${entry.title}” was opened from a link`, actions } : null);
  return true;
}

async function openShare(packed, draft) {
  if (absent.value) {
    tell('link', { kind: 'warning', text: 'What was shared opens in a browser with WebGPU' });
    return false;
  }
  const shared = await guard('link', () => read(packed));
  if (!shared) return false;
  leave();
  const entry = gallery.value.find(({ id }) => id === shared.set);
  const own = shared.pairs.length > 0 || shared.text !== '';
  if (entry) await choose(own ? { ...entry, data: undefined, record: null } : entry);
  batch(() => {
    if (shared.questions.length) setQuestions(shared.questions);
    const usual = shared.larger ? greeting.value.defaults : { ...greeting.value.demo, ...entry?.settings };
    showSettings({ ...usual, ...typed(shared.settings, usual) });
    if (shared.pairs.length) edited.value = { pairs: shared.pairs };
  });
  if (!shared.larger && model.value && model.value.source.kind !== 'demo') await openDemo({ keepSettings: true });
  if (shared.text) await openData({ name: 'shared', text: shared.text, kind: 'text' });
  const fetch = shared.model ? [{ label: `Fetch ${shared.model}`, act: () => openFromHub(shared.model, { keepSettings: true }) }] : [];
  tell('link', { kind: 'note', text: `Opened from a link: ${contents(shared)}. They are from whoever made it`,
    hint: shared.model ? `it was made with ${shared.model}; nothing is fetched unless you want it` : 'look at them before you start',
    actions: [...fetch, ...back(draft)] });
  return true;
}

// typed gives settings the types that a configuration has.
const typed = (settings, usual) => Object.fromEntries(Object.entries(settings).map(([key, text]) =>
  [key, typeof usual[key] === 'number' ? Number(text) : text]));

// take opens what a link names. It never takes the place of a run that can go on: it then waits for a click.
async function take(link, draft) {
  if (!locked.value) return link.set !== undefined ? openSet(link.set, draft) : openShare(link.share, draft);
  const hint = busy.value ? 'pause or finish the run first: it stays in the list of runs'
    : 'the run that can go on stays in the list of runs';
  tell('link', { kind: 'note', text: 'A link waits to be opened', hint, actions: [{ label: 'Open it', act: () => {
    if (busy.value) return;
    const before = draftNow();
    leave();
    take(link, before);
  } }] });
  return false;
}

// openNamed opens what the address names, and tells whether it is shown. draft is what was here before. waits: a run
// that can go on comes first.
export async function openNamed(draft, waits) {
  const link = named();
  if (!link) return false;
  if (!waits) return take(link, draft);
  await waits();
  await take(link, draft);
  return true;
}

// followAddress opens what a changed address names.
export function followAddress() {
  addEventListener('hashchange', () => {
    const link = named();
    if (link) take(link, draftNow());
  });
}
