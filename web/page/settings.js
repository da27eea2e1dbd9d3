// The settings that the page offers; all others stay as the trainer's defaults or a checkpoint have them. Keys are
// those of a configuration file.
import { $, make } from './dom.js';
import { hinted } from './progress.js';

const fields = [
  { key: 'lora_r', label: 'Rank', hint: 'Size of the adapter', min: 1, max: 256, step: 1 },
  { key: 'lora_alpha', label: 'Alpha', hint: 'Its strength, with the rank', min: 0.5, max: 1024, step: 'any' },
  { key: 'max_steps', label: 'Steps', hint: 'Updates in all', min: 1, max: 100000, step: 1 },
  { key: 'learning_rate', label: 'Learning rate', hint: 'Large models: 0.0002', min: 0, max: 1, step: 'any' },
  { key: 'max_seq_length', label: 'Sequence length', hint: 'Tokens kept of an example', min: 8, max: 1 << 20, step: 1 },
  { key: 'batch_size', label: 'Batch', hint: 'Examples at a time', min: 1, max: 1024, step: 1 },
];
const more = [
  { key: 'gradient_accumulation_steps', label: 'Batches a step', hint: 'Summed before an update', min: 1, max: 1024, step: 1 },
  { key: 'save_steps', label: 'Save every', hint: 'Steps between checkpoints', min: 1, max: 100000, step: 1 },
  { key: 'max_grad_norm', label: 'Clip the norm at', hint: '0: never', min: 0, max: 1e6, step: 'any' },
  { key: 'seed', label: 'Seed', hint: 'The same one gives the same run', min: 0, max: 2 ** 32 - 1, step: 1 },
  { key: 'gradient_checkpointing', label: 'Recompute activations', hint: 'Saves memory, costs time',
    choices: ['auto', 'full', 'selective', 'off'] },
];

// room is no setting of the run: what memory it may take. A browser that tells of 8 GiB may mean more.
const room = { key: 'Memory', label: 'Memory, GiB', hint: 'What a run may take. Empty: unknown', min: 0, step: 'any' };

export class Settings {
  #base = {};
  #changed;

  constructor(changed) {
    this.#changed = changed;
    const field = ({ key, label, hint, choices, required = true, ...limits }) =>
      make('div', { class: 'field' }, make('label', { for: key, text: label }),
      choices
        ? make('select', { id: key, 'aria-describedby': `${key}-hint`, on: { change: changed } },
          ...choices.map((text) => make('option', { text })))
        : make('input', { id: key, type: 'number', inputmode: 'decimal', required, 'aria-describedby': `${key}-hint`, ...limits,
          on: { input: changed } }),
      make('span', { id: `${key}-hint`, class: 'hint', text: hint }));
    $('settings').append(...fields.map(field),
      make('details', {}, make('summary', { text: 'More settings' }),
      make('div', {}, ...[...more, { ...room, required: false }].map(field))));
    if (hinted && hinted < 8) $(room.key).value = hinted;
    $('settings').addEventListener('submit', (event) => event.preventDefault());
  }

  // set shows a configuration, and keeps what of it the page does not show.
  set(config, maxPositions) {
    this.#base = { ...config };
    if (maxPositions) $('max_seq_length').max = maxPositions;
    for (const { key } of [...fields, ...more]) $(key).value = config[key];
    if (maxPositions) $('max_seq_length').value = Math.min(config.max_seq_length, maxPositions);
  }

  // get is the whole configuration, or null where a field holds what no run could use.
  get() {
    const config = { ...this.#base };
    let valid = true;
    for (const { key, choices } of [...fields, ...more]) {
      const input = $(key);
      const good = input.value !== '' && input.checkValidity();
      input.setAttribute('aria-invalid', String(!good));
      valid &&= good;
      config[key] = choices ? input.value : Number(input.value);
    }
    return valid ? config : null;
  }

  // memory is what a run may take in bytes, 0 where that is unknown.
  memory() { return Math.round(Number($(room.key).value) * 2 ** 30); }

  // way is a change that makes a run fit: how it reads, and what makes it.
  way({ setting, to }) {
    const { key, label } = [...fields, ...more].find((each) => each.key === setting);
    return { label: `${label}: ${to}`, apply: () => { $(key).value = to; this.#changed(); } };
  }

  lock(locked, note = '') {
    for (const { key } of [...fields, ...more]) $(key).disabled = locked;
    $('settings-note').textContent = note;
    $('settings-note').hidden = !note;
  }
}
