// Models of the hub that this browser keeps, in its Cache API: each file under its address at a fixed revision, and a
// record of what belongs together. A browser may refuse it, or have no room; a model is then fetched each time.
import { signal } from './ui.js';

const name = 'qlora-wgpu hub';
export const hub = 'https://huggingface.co';
export const fileAt = (id, sha, file) => `${hub}/${id}/resolve/${sha}/${file}`;
const recordAt = (id, sha) => `${hub}/${id}/tree/${sha}`;

// What is kept: [{id, sha, revisions, files: [{name, size}], size, fingerprint, date}], the newest first. part: some
// files are there, since fetching them was broken off; it has an id, a sha and a size.
export const keptModels = signal([]);

const open = () => caches.open(name);
const json = (value) => new Response(JSON.stringify(value), { headers: { 'content-type': 'application/json' } });

// refreshKept looks at what is kept.
export async function refreshKept() {
  const whole = [], parts = new Map();
  try {
    const cache = await open();
    for (const request of await cache.keys()) {
      const [, id, kind, sha] = /^https:\/\/[^/]+\/([^/]+\/[^/]+)\/(tree|resolve)\/([^/]+)/.exec(request.url);
      const response = await cache.match(request), key = `${id}@${sha}`;
      if (kind === 'tree') whole.push(await response.json());
      else parts.set(key, { id, sha, part: true, size: (parts.get(key)?.size ?? 0) + Number(response.headers.get('content-length')) });
    }
  } catch { /* nothing is kept */ }
  for (const { id, sha } of whole) parts.delete(`${id}@${sha}`);
  keptModels.value = [...whole.sort((a, b) => b.date - a.date), ...parts.values()];
}

// keptFile gives a file that has been fetched before, and nothing where there is none of that size.
export async function keptFile(id, sha, { name: file, size }) {
  try {
    const blob = await (await (await open()).match(fileAt(id, sha, file)))?.blob();
    return blob && (size === undefined || blob.size === size) ? new File([blob], file) : null;
  } catch {
    return null;
  }
}

// keepFile keeps a file; it fails where there is no room.
export async function keepFile(id, sha, file) {
  await (await open()).put(fileAt(id, sha, file.name), new Response(file, { headers: { 'content-length': String(file.size) } }));
}

// keepRecord writes down that all files of a model are kept.
export async function keepRecord(record) {
  await (await open()).put(recordAt(record.id, record.sha), json({ ...record, date: Date.now() }));
  await refreshKept();
}

// clear removes a model, and what of it came before a fetch broke off.
export async function clearKept({ id, sha }) {
  try {
    const cache = await open();
    for (const { url } of await cache.keys()) {
      if (url === recordAt(id, sha) || url.startsWith(fileAt(id, sha, ''))) await cache.delete(url);
    }
  } catch { /* nothing is kept */ }
  await refreshKept();
}

// filesOfKept gives the files of a record, and nothing where the browser has removed one.
export async function filesOfKept({ id, sha, files }) {
  const list = await Promise.all(files.map((file) => keptFile(id, sha, file)));
  return list.every(Boolean) ? list : null;
}
