// What the page keeps in this browser beside the runs: drafts, handles of picked files, what the user has seen. A
// browser may refuse it; the page works without.
const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

async function table(mode) {
  const opening = indexedDB.open('qlora-wgpu', 2);
  opening.onupgradeneeded = () => {
    const { objectStoreNames } = opening.result;
    if (!objectStoreNames.contains('handles')) opening.result.createObjectStore('handles');
  };
  const database = await done(opening);
  return database.transaction('handles', mode).objectStore('handles');
}

let over = false; // all was forgotten: what the page writes on its way out is not kept

export const keep = async (name, value) => {
  if (over) return;
  try { await done((await table('readwrite')).put(value, name)); } catch { /* it is written again the next time */ }
};
export const kept = async (name) => {
  try { return await done((await table('readonly')).get(name)); } catch { return undefined; }
};
export const forgetKept = async () => {
  over = true;
  try { await done((await table('readwrite')).clear()); } catch { /* nothing was kept */ }
};
