// Files by drag and drop or by picker, sorted by what they are, with handles where the browser has them.
import { canKeep, filesOf, pick } from './handles.js';

// kind tells a model, a data set or a checkpoint by the names of its files.
function kind(files) {
  const names = files.map(({ name }) => name.toLowerCase());
  if (names.includes('manifest.json') || names.some((name) => name.endsWith('.zip'))) return 'checkpoint';
  if (names.some((name) => name.endsWith('.gguf') || name.endsWith('.safetensors')) || names.includes('config.json')) return 'model';
  return 'data';
}

// entries reads dropped folders to the depth of their files.
async function entries(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader(), found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break;
    for (const each of some) if (each.isFile) found.push(...await entries(each));
  }
  return found;
}

// onDrop calls take(kind, files, folder, handles) with what is dropped anywhere on the page.
export function onDrop(allowed, take) {
  const veil = document.getElementById('drop');
  let depth = 0;
  const hide = () => { depth = 0; veil.hidden = true; };
  addEventListener('dragenter', (event) => {
    if (!event.dataTransfer?.types.includes('Files') || !allowed()) return;
    depth++;
    veil.hidden = false;
  });
  addEventListener('dragleave', () => { if (--depth <= 0) hide(); });
  addEventListener('dragover', (event) => { if (event.dataTransfer?.types.includes('Files')) event.preventDefault(); });
  addEventListener('drop', async (event) => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    hide();
    if (!allowed()) return;
    // they are gone after the first wait
    const items = [...event.dataTransfer.items].filter((item) => item.kind === 'file');
    const roots = items.map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const handles = Promise.all(canKeep ? items.map((item) => item.getAsFileSystemHandle()) : []).catch(() => []);
    const folder = roots.length === 1 && roots[0].isDirectory ? roots[0].name : '';
    const files = roots.length ? (await Promise.all(roots.map(entries))).flat() : [...event.dataTransfer.files];
    if (files.length) take(kind(files), files, folder, (await handles).filter(Boolean));
  });
}

// onPick connects a button with the dialogue that gives handles, or with its hidden file input.
export function onPick(button, input, take) {
  const picker = document.getElementById(input);
  document.getElementById(button).addEventListener('click', async () => {
    if (!canKeep) return picker.click();
    const handles = await pick(picker.webkitdirectory);
    const files = await filesOf(handles);
    if (files.length) take(files, picker.webkitdirectory ? handles[0].name : '', handles);
  });
  picker.addEventListener('change', () => {
    const files = [...picker.files];
    picker.value = ''; // so that the same file can be chosen again
    if (files.length) take(files, files[0].webkitRelativePath.split('/')[0]);
  });
}
