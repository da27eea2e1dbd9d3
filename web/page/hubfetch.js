// Fetching from the hub: in parallel, and on from where a connection broke off.
import { hub } from './hubcache.js';

// failed is an error in words. passing: it may be another the next time, without anybody's doing.
export const failed = (message, hint, passing = false) => Object.assign(new Error(message), { hint, passing });

const tries = 5; // without a byte between them
const atOnce = 4;
const piece = 4 << 20; // bytes that are collected before the browser may put them on the disk

const wait = (ms, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
});

// ask is a request without cookies or referrer; what goes wrong is told in words.
export async function ask(id, path, signal, headers = {}) {
  let response;
  try {
    response = await fetch(`${hub}/${path}`, { credentials: 'omit', referrerPolicy: 'no-referrer', signal, headers });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw failed('The hub cannot be reached.', 'check the connection to huggingface.co, or open a model folder from this computer', true);
  }
  if (response.ok || response.status === 416) return response;
  const code = response.headers.get('x-error-code');
  if (code === 'GatedRepo' || response.status === 403) throw failed(
    `${id} is gated: the hub gives it only to those who have accepted its terms.`,
    'download it where you are signed in, and open its folder here');
  if (code === 'RevisionNotFound') throw failed(`${id} has no such revision.`, 'leave out what stands behind the @');
  if (response.status === 401 || response.status === 404) throw failed(`The hub has no public model ${id}.`,
    'write it as on its page, such as HuggingFaceTB/SmolLM2-135M-Instruct');
  throw failed(`The hub answers with status ${response.status}.`, 'try again later', response.status === 429 || response.status >= 500);
}

// begun holds what has come of a file that is not whole: path → {parts, done}. The next try goes on from there.
const begun = new Map();

// forgetBegun gives back what has come of other files than those below a path.
export function forgetBegun(below) {
  for (const path of begun.keys()) if (!path.startsWith(below)) begun.delete(path);
}

// fetchWhole gives a file, however often its connection breaks off, unless no byte comes between. told gets the bytes
// that have come, and less than none for those that come again.
export async function fetchWhole(id, path, { name, size }, signal, told) {
  const state = begun.get(path) ?? { parts: [], done: 0 };
  begun.set(path, state);
  told(state.done);
  for (let left = tries; size === undefined || state.done !== size;) {
    const before = state.done;
    try {
      if (await more(id, path, state, signal, told) && size === undefined) break;
      if (state.done > size) restart(state, told);
      if (state.done !== size) throw failed(`The connection broke off in ${name}.`, 'try again: it goes on from there', true);
    } catch (error) {
      left = state.done > before ? tries : left - 1;
      if (!error.passing || left === 0 || navigator.onLine === false) throw error;
      await wait(250 * 2 ** (tries - left), signal);
    }
  }
  begun.delete(path);
  return new File(state.parts, name);
}

function restart(state, told) {
  told(-state.done);
  Object.assign(state, { parts: [], done: 0 });
}

// more takes what comes of a file until it ends, which it tells, or breaks off.
async function more(id, path, state, signal, told) {
  const response = await ask(id, path, signal, state.done ? { range: `bytes=${state.done}-` } : {});
  if (response.status === 416) return true; // there is nothing behind what has come
  if (response.status !== 206) restart(state, told); // the whole comes again
  const reader = response.body.getReader();
  let chunks = [], held = 0;
  const put = () => {
    state.parts.push(new Blob(chunks));
    chunks = [];
    held = 0;
  };
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return true;
      chunks.push(value);
      held += value.length;
      state.done += value.length;
      told(value.length);
      if (held >= piece) put();
    }
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw failed(`The connection broke off in ${path.split('/').at(-1)}.`, 'try again: it goes on from there', true);
  } finally {
    put();
  }
}

// inParallel does work for each of a list, some at once, and gives the results in the list's order. The first that
// fails takes the others back by the signal that work gets.
export async function inParallel(list, signal, work) {
  const results = new Array(list.length), stop = new AbortController(), both = AbortSignal.any([signal, stop.signal]);
  let next = 0;
  const one = async () => {
    while (next < list.length) {
      const at = next++;
      results[at] = await work(list[at], both);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(atOnce, list.length) }, one));
  } catch (error) {
    stop.abort();
    throw error;
  }
  return results;
}
