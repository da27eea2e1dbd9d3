// Files for other programs: the adapter alone, or the model with it merged in.
import { engine } from './engine.js';
import { bytes } from './format.js';
import { exclusively } from './inputs.js';
import { guard } from './messages.js';
import { model, opening, run } from './state.js';
import { effect, signal } from './ui.js';

export const ofAdapter = { lora: 'GGUF LoRA, for llama.cpp', mlx: 'MLX, for mlx-lm' };
export const ofModel = { q8_0: '8 bits (q8_0)', q4_k_m: '4 bits, mixed (q4_k_m)', q4_0: '4 bits, plain (q4_0)', f16: '16 bits (f16)',
  bf16: '16 bits (bf16)', f32: '32 bits (f32)' };

export const format = signal('lora');
export const shown = signal(false); // the choice is open
// What the chosen file will be: {found: name, size and warnings} or {error}; null: the engine has not said yet.
export const planned = signal(null);

const mostInBlob = 2 ** 30;

const toDisk = () => 'showSaveFilePicker' in globalThis;

// tooLarge tells whether a file is larger than what this browser makes without a way to the disk.
export const tooLarge = ({ size }) => !toDisk() && size > mostInBlob;
export const limit = bytes(mostInBlob);

// followExport asks what the chosen file would be whenever that may have changed.
export function followExport() {
  let version = 0;
  effect(() => {
    const { id, state } = run.value, args = { Run: id, Format: format.value }, mine = ++version;
    if (!shown.value || !model.value || (state !== 'done' && state !== 'paused')) return;
    planned.value = null;
    engine.ask('exportable', args).then((found) => ({ found }), (error) => ({ error })).then((plan) => {
      if (mine === version) planned.value = plan;
    });
  });
}

// place asks the user where a file shall lie; undefined: this browser decides.
const place = async (name) => (toDisk() ? showSaveFilePicker({ suggestedName: name }) : undefined);

// offer gives a blob to the browser's downloads.
export function offer(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60e3);
}

// download writes the chosen file. What is cancelled or fails leaves nothing.
export const download = ({ name, size }) => guard('take', async () => {
  const args = { Run: run.value.id, Format: format.value }, to = await place(name);
  try {
    await exclusively('export', `Writing ${name}…`, async ({ show, asking }) => {
      show({ done: 0, total: size });
      const { blob } = await asking(engine.ask('export', args, { to, told: ({ writing }) => { if (writing) show(writing); } }));
      if (blob) offer(blob, name);
    });
  } catch (error) {
    // the browser has made an empty file when the place was chosen
    const left = await to?.getFile().catch(() => null);
    if (left?.size === 0) await to.remove?.().catch(() => {});
    throw error;
  }
});

export const isWriting = () => opening.value?.what === 'export';
