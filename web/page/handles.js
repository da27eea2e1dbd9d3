// Files that the user picked stay where they are. Browsers with File System Access give handles, which are kept over a
// reload, so that the page can go on with the same model; elsewhere the user picks it again.

export const canKeep = 'showOpenFilePicker' in globalThis;

// pick shows the browser's dialogue for files or a folder, and gives handles; none where the user changed their mind.
export async function pick(folder, multiple) {
  try {
    return folder ? [await showDirectoryPicker()] : await showOpenFilePicker({ multiple });
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
