// A model of the Hugging Face hub, fetched only when the user asks for it. Nothing but its name is sent.
import { bytes } from './format.js';
import { clearKept, filesOfKept, hub, keepFile, keepRecord, keptFile, keptModels, refreshKept } from './hubcache.js';
import { ask, failed, fetchWhole, forgetBegun, inParallel } from './hubfetch.js';
import { exclusively, openModel } from './inputs.js';
import { guard, tell } from './messages.js';
import { model, values } from './state.js';

// Models that fit a tab: public, of the Llama family, with the bytes that are fetched.
export const suggested = [
  { id: 'HuggingFaceTB/SmolLM2-135M-Instruct', label: 'SmolLM2 135M', size: 271e6 },
  { id: 'HuggingFaceTB/SmolLM-135M-Instruct', label: 'SmolLM 135M', size: 271e6 },
  { id: 'HuggingFaceTB/SmolLM2-360M-Instruct', label: 'SmolLM2 360M', size: 726e6 },
];

// parse reads a model's name or any address of its pages: {id, revision}; null: it is neither.
export function parse(text) {
  const plain = text.trim().replace(/^(?:https?:\/\/)?(?:www\.)?(?:huggingface\.co|hf\.co)\//i, '').replace(/[?#].*$/, '')
    .replace(/\/+$/, '');
  const [, owner, name, at, folder, rest] =
    /^([\w.-]+)\/([\w.-]+)(?:@([\w./-]+)|\/(tree|blob|resolve|raw|commit|discussions|commits)(?:\/(.*))?)?$/.exec(plain) ?? [];
  if (!owner || /^\.+$/.test(owner) || /^\.+$/.test(name) || ['datasets', 'spaces', 'models', 'api'].includes(owner)) return null;
  const named = ['tree', 'blob', 'resolve', 'raw', 'commit', 'commits'].includes(folder) ? rest?.split('/')[0] : '';
  return { id: `${owner}/${name}`, revision: at ?? (named ? decodeURIComponent(named) : 'main') };
}

const nameOf = ({ id, revision }) => (revision === 'main' ? id : `${id}@${revision}`);

// wanted are the files of a repository that make a model.
function wanted(id, files) {
  const named = (name) => files.filter(({ rfilename }) => rfilename === name);
  const one = named('model.safetensors');
  const weights = one.length ? one : files.filter(({ rfilename }) => /^model-\d+-of-\d+\.safetensors$/.test(rfilename));
  const tokenizer = ['tokenizer.json', 'tekken.json', 'tokenizer.model'].filter((name) => named(name).length).slice(0, 1);
  const texts = ['config.json', 'generation_config.json', ...tokenizer, 'tokenizer_config.json', 'special_tokens_map.json',
    'added_tokens.json', 'chat_template.jinja', 'chat_template.json',
    ...(one.length ? [] : ['model.safetensors.index.json'])].flatMap(named);
  if (!weights.length || !named('config.json').length) throw failed(`${id} holds no model in safetensors.`,
    'choose another repository, or download its GGUF file and open that');
  return [...texts, ...weights].map(({ rfilename: name, size }) => ({ name, size }));
}

// download gives a model's files and the record under which they are kept, and tells its progress in bytes. Files that
// came before are not fetched again.
async function download({ id, revision }, signal, progress) {
  const at = revision === 'main' ? '' : `/revision/${encodeURIComponent(revision)}`;
  const { sha = revision, siblings = [] } = await (await ask(id, `api/models/${id}${at}?blobs=true`, signal)).json();
  const files = wanted(id, siblings), total = files.reduce((sum, { size }) => sum + (size ?? 0), 0), below = `${id}/resolve/${sha}/`;
  let done = 0, full = null;
  const told = (more) => { done += more; progress(done, total); };
  told(0);
  forgetBegun(below);
  const list = await inParallel(files, signal, async (file, stop) => {
    const before = await keptFile(id, sha, file);
    if (before) {
      told(before.size);
      return before;
    }
    const fetched = await fetchWhole(id, `${below}${file.name}`, file, stop, told);
    if (!full) await keepFile(id, sha, fetched).catch((error) => { full = error; });
    return fetched;
  });
  if (full) await clearKept({ id, sha }); // a part of a model helps nobody
  return { files: list, full, record: { id, sha, revisions: [revision], files, size: done } };
}

// keepWhole writes down that a model is kept, and under which revisions it was asked for.
async function keepWhole(record, info) {
  const before = keptModels.value.find(({ id, sha }) => id === record.id && sha === record.sha);
  const revisions = [...new Set([...(before?.revisions ?? []), ...record.revisions])];
  // a revision that moves leads to one model only
  for (const other of keptModels.value) {
    const same = !other.part && other.id === record.id && other.sha !== record.sha;
    if (!same || !other.revisions.some((each) => revisions.includes(each))) continue;
    await keepRecord({ ...other, revisions: other.revisions.filter((each) => !revisions.includes(each)) });
  }
  await keepRecord({ ...record, revisions, fingerprint: info?.fingerprint });
}

function tellUnkept(id, error) {
  const reason = error.name === 'QuotaExceededError' ? 'it has no room left for this page' : error.message;
  tell('hub', { kind: 'warning', text: `The browser does not keep ${id} (${reason}): it is fetched again the next time`,
    hint: 'clear another model, or free space on this computer' });
}

// openRecord opens a model that is kept, without the network, and tells whether it was all there. What it cannot open,
// it has said.
export async function openRecord(record, options) {
  const files = await filesOfKept(record);
  if (!files) { // the browser has made room
    await clearKept(record);
    return false;
  }
  await openModel(files, { kind: 'hub', id: record.id, revision: record.sha }, options);
  return true;
}

// openCached opens the model of a run, known by its fingerprint, from what is kept, and tells whether it is.
async function openCached(fingerprint, id) {
  await refreshKept();
  const whole = keptModels.value.filter(({ part }) => !part);
  const record = whole.find((each) => fingerprint && each.fingerprint === fingerprint) ??
    whole.find((each) => each.id === id && !(fingerprint && each.fingerprint));
  return Boolean(record) && openRecord(record, { keepSettings: true });
}

// openFromHub opens a model by its name or the address of a page of it: from what is kept, or else from the hub. What
// was open stays until the model is there, and where it does not come.
export async function openFromHub(text, options) {
  const asked = parse(text);
  options = { then: values.value, ...options };
  tell('hub', null);
  await refreshKept();
  const record = asked && keptModels.value.find(({ id, sha, revisions, part }) =>
    !part && id === asked.id && (sha === asked.revision || revisions.includes(asked.revision)));
  if (record && await openRecord(record, options)) return;
  const found = await guard('model', () => {
    if (!asked) throw failed('A model of the hub is named by its owner and its name.',
      'write it as on its page, such as HuggingFaceTB/SmolLM2-135M-Instruct');
    const name = nameOf(asked);
    return exclusively('hub', `Fetching ${name}…`, ({ show, onCancel }) => {
      const stop = new AbortController();
      onCancel(() => stop.abort());
      return download(asked, stop.signal, (done, total) => show({ done, total: Math.max(total, done),
        text: `Fetching ${name}: ${bytes(done)} of ${bytes(Math.max(total, done))}…` }));
    });
  }, asked ? [{ label: 'Try again', act: () => openFromHub(text, options) }] : []);
  if (!found) return;
  const keepIt = (info) => keepWhole(found.record, info).catch((error) => { found.full ??= error; });
  if (!found.full) await keepIt(); // before it is opened, which may take long
  const info = await openModel(found.files, { kind: 'hub', id: asked.id, revision: found.record.sha }, options);
  if (info && !found.full) await keepIt(info);
  if (found.full) tellUnkept(asked.id, found.full);
}

// openAgain opens the model of a run or a draft: from what is kept, or by a button from the hub.
export async function openAgain({ fingerprint, id, revision }) {
  if (await openCached(fingerprint, id)) return;
  tell('model', { kind: 'warning', text: `${id} is no longer kept in this browser`, hint: 'fetch it again, or open another model',
    actions: [{ label: 'Fetch it again', act: () => openFromHub(revision ? `${id}@${revision}` : id, { keepSettings: true }) }] });
}

export const isHub = (name) => /^[\w.-]+\/[\w.-]+$/.test(name ?? '');

// isOpen tells whether the open model is one that is kept.
export function isOpen({ id, sha }) {
  const { kind, id: open, revision } = model.value?.source ?? {};
  return kind === 'hub' && open === id && revision === sha;
}
