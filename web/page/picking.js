// Files by drag and drop or by picker, sorted by what they are, with handles where the browser has them.
import { canKeep, filesOf, pick } from './handles.js';
import { openClear } from './editing.js';
import { openModel } from './inputs.js';
import { tell, tellError } from './messages.js';
import { leaveForData } from './run.js';
import { restore } from './runs.js';
import { busy } from './state.js';
import { signal } from './ui.js';

// kind tells a model, a data set or something to bring back by the names of its files.
function kind(files) {
  const names = files.map(({ name }) => name.toLowerCase());
  if (names.some((name) => ['manifest.json', 'adapter_config.json'].includes(name) || name.endsWith('.zip'))) return 'back';
  if (names.some((name) => name.endsWith('.gguf') || name.endsWith('.safetensors')) || names.includes('config.json')) return 'model';
  return 'data';
}

function take(what, files, folder = '', handles = []) {
  if (busy.value) {
    tell('drop', { kind: 'warning', text: 'A run is under way: nothing else can be opened.', hint: 'pause it first' });
  } else if (what === 'model') openModel(files, { kind: 'files', folder, handles });
  else if (what === 'back') restore(files);
  else {
    leaveForData();
    if (files.length > 1) tell('drop', { kind: 'warning', text: `Of ${files.length} files, ${files[0].name} was opened.` });
    openClear({ file: files[0], kind: 'file' });
  }
}

// choose opens the browser's dialogue: with handles where it has them, and by a hidden field elsewhere.
async function choose({ folder = false, multiple = true, accept = '', field }, taken) {
  if (canKeep) {
    try {
      const handles = await pick(folder, multiple);
      const files = await filesOf(handles);
      if (files.length) taken(files, folder ? handles[0].name : '', handles);
    } catch (error) {
      tellError('drop', error);
    }
    return;
  }
  const input = document.getElementById(field);
  Object.assign(input, { accept, multiple, webkitdirectory: folder, onchange: () => fromField(input, taken) });
  input.click();
}

function fromField(input, taken) {
  const files = [...input.files];
  input.value = ''; // so that the same file can be chosen again
  if (files.length) taken(files, files[0].webkitRelativePath.split('/')[0]);
}

export const pickModel = (folder) => choose({ folder, field: folder ? 'file-folder' : 'file-model' }, (...args) => take('model', ...args));
export const pickData = () => choose({ multiple: false, field: 'file-data' }, (files) => take('data', files));
export const pickCheckpoint = () => choose({ field: 'file-checkpoint' }, (files) => take('back', files));

// followFields takes what is put into the hidden fields, by whatever way.
export function followFields() {
  for (const [field, what] of [['file-model', 'model'], ['file-folder', 'model'], ['file-data', 'data'], ['file-checkpoint', 'back']]) {
    const input = document.getElementById(field);
    input.addEventListener('change', () => fromField(input, (files, folder) => take(what, files, folder)));
  }
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

export const dragged = signal(false); // files are held over the page

const brings = (event) => event.dataTransfer?.types.includes('Files');

// followDrops takes what is dropped anywhere on the page.
export function followDrops() {
  let depth = 0;
  const hide = () => { depth = 0; dragged.value = false; };
  addEventListener('dragenter', (event) => { if (brings(event)) { depth++; dragged.value = true; } });
  addEventListener('dragleave', () => { if (--depth <= 0) hide(); });
  addEventListener('dragover', (event) => { if (brings(event)) event.preventDefault(); });
  addEventListener('drop', async (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    hide();
    // they are gone after the first wait
    const items = [...event.dataTransfer.items].filter((item) => item.kind === 'file');
    const roots = items.map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const handles = Promise.all(canKeep ? items.map((item) => item.getAsFileSystemHandle()) : []).catch(() => []);
    const folder = roots.length === 1 && roots[0].isDirectory ? roots[0].name : '';
    const files = roots.length ? (await Promise.all(roots.map(entries))).flat() : [...event.dataTransfer.files];
    if (files.length) take(kind(files), files, folder, (await handles).filter(Boolean));
  });
}
