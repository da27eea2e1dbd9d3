// Files that the user picked stay where they are. Browsers with File System Access give handles, which are kept over a
// reload, so that the page can go on with the same model; elsewhere the user picks it again.

export const canKeep = 'showOpenFilePicker' in globalThis;

// pick shows the browser's dialogue for files or a folder, and gives handles; none where the user changed their mind.
export async function pick(folder) {
  try {
    return folder ? [await showDirectoryPicker()] : await showOpenFilePicker({ multiple: true });
  } catch (error) {
    if (error.name === 'AbortError') return [];
    throw error;
  }
}

// filesOf reads handles, and those of a folder's files.
export async function filesOf(handles) {
  const files = [];
  for (const handle of handles) {
    if (handle.kind === 'file') files.push(await handle.getFile());
    else for await (const each of handle.values()) if (each.kind === 'file') files.push(await each.getFile());
  }
  return files;
}

// allowed tells whether handles may be read, and where ask is set asks the user; that needs a click.
export async function allowed(handles, ask) {
  for (const handle of handles) {
    const may = ask ? await handle.requestPermission({ mode: 'read' }) : await handle.queryPermission({ mode: 'read' });
    if (may !== 'granted') return false;
  }
  return true;
}

const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

async function table(mode) {
  const opening = indexedDB.open('qlora-wgpu', 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore('handles');
  const database = await done(opening);
  return database.transaction('handles', mode).objectStore('handles');
}

// keep remembers the open model's handles and the name of its folder; what cannot be kept is picked again.
export const keep = async (model) => table('readwrite').then((t) => done(t.put(model, 'model'))).catch(() => {});
export const forget = async () => table('readwrite').then((t) => done(t.delete('model'))).catch(() => {});
export const kept = async () => table('readonly').then((t) => done(t.get('model'))).catch(() => undefined);
