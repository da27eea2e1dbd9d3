// A link that carries settings, questions and small examples in its hash, which no server is sent. What comes by a link
// was written by anybody: only known settings within their limits and texts are taken from it.
import { all, check } from './fields.js';
import { count, plural } from './format.js';
import { isHub } from './hub.js';
import { data, edited, greeting, model, questions, subject, values } from './state.js';

const longest = 8000; // characters of a link, which mail and messengers carry whole
const most = { packed: 64 << 10, text: 1 << 20, questions: 12, question: 2000, pairs: 5000, cell: 20000 };

const failed = (message, hint) => Object.assign(new Error(message), { hint });

const through = (blob, stream) => blob.stream().pipeThrough(stream);

async function pack(value) {
  const packed = await new Response(through(new Blob([JSON.stringify(value)]), new CompressionStream('deflate-raw'))).arrayBuffer();
  return btoa(String.fromCharCode(...new Uint8Array(packed))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

async function unpack(text) {
  if (text.length > most.packed) throw failed('The link is longer than any that this page makes.');
  const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
  const reader = through(new Blob([bytes]), new DecompressionStream('deflate-raw')).getReader(), parts = [];
  for (let size = 0; ;) {
    const { value, done } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > most.text) {
      await reader.cancel();
      throw failed('The link holds more than any that this page makes.');
    }
    parts.push(value);
  }
  return JSON.parse(await new Blob(parts).text());
}

// usual are the settings that a link need not carry.
const usual = () => (model.value && model.value.source.kind !== 'demo' ? greeting.value.defaults
  : { ...greeting.value.demo, ...subject.value?.settings });

const filled = (pairs) => pairs.filter((pair) => pair.some((cell) => cell.trim()));

// make gives a link to what is open: {url, says}, says tells what it carries and what it had to leave out.
export async function make() {
  const base = usual(), own = edited.value || data.value?.kind !== 'subject', carried = {};
  if (subject.value) carried.set = subject.value.id;
  carried.settings = Object.fromEntries(all.filter(({ key }) => values.value[key] !== undefined && values.value[key] !== String(base[key]))
    .map(({ key }) => [key, values.value[key]]));
  for (const key of Object.keys(check(carried.settings, model.value))) delete carried.settings[key];
  const texts = questions.value.map(({ text }) => text.trim()).filter(Boolean);
  if (own || texts.join('\n') !== subject.value?.questions.join('\n')) carried.questions = texts;
  if (model.value && model.value.source.kind !== 'demo') carried.larger = true;
  if (model.value?.source.kind === 'hub') carried.model = model.value.source.id;
  const pairs = filled(edited.value?.pairs ?? data.value?.pairs ?? []);
  const text = edited.value?.text ?? data.value?.text ?? '';
  const examples = !own ? {} : pairs.length ? { pairs } : text ? { text } : {};
  const address = async (value) => `${location.origin}${location.pathname}#share=${await pack(value)}`;
  const rest = [plural(carried.questions?.length ?? texts.length, 'question'), plural(Object.keys(carried.settings).length, 'setting')];
  const whole = text.length <= most.text ? await address({ ...carried, ...examples }) : '';
  if (whole && whole.length <= longest) {
    const rows = pairs.length ? plural(pairs.length, 'example') : 'the examples';
    return { url: whole, says: `It carries ${own ? `${rows}, ` : `the subject “${subject.value.title}”, `}${rest.join(' and ')}.` };
  }
  const url = await address(carried);
  if (url.length > longest) throw failed('The questions are too long for a link.', 'shorten them');
  return { url, says: `The examples are too large for a link: it carries only ${rest.join(' and ')}. Send them as a file.` };
}

const isText = (value, limit) => typeof value === 'string' && value.length <= limit;

// read gives what a link carries: {set, settings, questions, pairs, text, model, larger: it is for another model than
// the embedded one, refused: how many of its settings are none}.
export async function read(packed) {
  let found;
  try {
    found = await unpack(packed);
  } catch (error) {
    throw failed('This link cannot be read.', error.hint ?? 'a part of it may be missing: copy it again, whole');
  }
  if (typeof found !== 'object' || found === null || Array.isArray(found)) throw failed('This link cannot be read.', 'ask for another one');
  const given = typeof found.settings === 'object' && found.settings !== null ? Object.entries(found.settings) : [];
  const settings = {};
  for (const [key, value] of given) {
    const field = all.find((each) => each.key === key);
    if (!field || !isText(value, 40)) continue;
    if (field.choices ? field.choices.includes(value) : !check({ [key]: value }, null)[key]) settings[key] = value;
  }
  const list = (value, limit) => (Array.isArray(value) ? value.slice(0, limit) : []);
  const asked = list(found.questions, most.questions).filter((each) => isText(each, most.question));
  const isPair = (each) => Array.isArray(each) && each.length === 2 && each.every((cell) => isText(cell, most.cell));
  const pairs = list(found.pairs, most.pairs).filter(isPair);
  return { set: isText(found.set, 40) ? found.set : '', settings, questions: asked, pairs,
    text: isText(found.text, most.text) ? found.text : '',
    model: isHub(found.model) && isText(found.model, 200) ? found.model : '',
    larger: found.larger === true, refused: given.length - Object.keys(settings).length };
}

// contents says what a link carries.
export function contents({ pairs, text, questions: asked, settings, refused }) {
  const parts = [pairs.length ? plural(pairs.length, 'example') : text ? 'examples' : '',
    asked.length ? plural(asked.length, 'question') : '',
    Object.keys(settings).length ? plural(Object.keys(settings).length, 'setting') : ''].filter(Boolean);
  return `${parts.join(', ') || 'a subject'}${refused ? `; ${count(refused)} of its settings are out of their limits and left out` : ''}`;
}
