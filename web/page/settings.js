// The settings that the page offers; all others stay as the trainer's defaults or a checkpoint have them. Keys are those of trainer.Config.
import { $, make } from './dom.js';

const fields = [
  { key: 'LoraR', label: 'Rank', hint: 'Size of the adapter', min: 1, max: 256, step: 1 },
  { key: 'LoraAlpha', label: 'Alpha', hint: 'Its strength, with the rank', min: 0.5, max: 1024, step: 'any' },
  { key: 'MaxSteps', label: 'Steps', hint: 'Updates in all', min: 1, max: 100000, step: 1 },
  { key: 'LearningRate', label: 'Learning rate', hint: 'Large models: 0.0002', min: 0, max: 1, step: 'any' },
  { key: 'MaxSeqLength', label: 'Sequence length', hint: 'Tokens kept of an example', min: 8, max: 1 << 20, step: 1 },
  { key: 'BatchSize', label: 'Batch', hint: 'Examples at a time', min: 1, max: 1024, step: 1 },
];
const more = [
  { key: 'GradientAccumulationSteps', label: 'Batches a step', hint: 'Summed before an update', min: 1, max: 1024, step: 1 },
  { key: 'SaveSteps', label: 'Save every', hint: 'Steps between checkpoints', min: 1, max: 100000, step: 1 },
  { key: 'MaxGradNorm', label: 'Clip the norm at', hint: '0: never', min: 0, max: 1e6, step: 'any' },
  { key: 'Seed', label: 'Seed', hint: 'The same one gives the same run', min: 0, max: 2 ** 32 - 1, step: 1 },
  { key: 'GradientCheckpointing', label: 'Recompute activations', hint: 'Saves memory, costs time', choices: ['auto', 'full', 'selective', 'off'] },
];

export class Settings {
  #base = {};
  #changed;

  constructor(changed) {
    this.#changed = changed;
    const field = ({ key, label, hint, choices, ...limits }) => make('div', { class: 'field' }, make('label', { for: key, text: label }),
      choices
        ? make('select', { id: key, 'aria-describedby': `${key}-hint`, on: { change: changed } }, ...choices.map((text) => make('option', { text })))
        : make('input', { id: key, type: 'number', inputmode: 'decimal', required: true, 'aria-describedby': `${key}-hint`, ...limits, on: { input: changed } }),
      make('span', { id: `${key}-hint`, class: 'hint', text: hint }));
    $('settings').append(...fields.map(field), make('details', {}, make('summary', { text: 'More settings' }), make('div', {}, ...more.map(field))));
    $('settings').addEventListener('submit', (event) => event.preventDefault());
  }

  // set shows a configuration, and keeps what of it the page does not show.
  set(config, maxPositions) {
    this.#base = { ...config };
    if (maxPositions) $('MaxSeqLength').max = maxPositions;
    for (const { key } of [...fields, ...more]) $(key).value = config[key];
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

  lock(locked, note = '') {
    for (const { key } of [...fields, ...more]) $(key).disabled = locked;
    $('settings-note').textContent = note;
    $('settings-note').hidden = !note;
  }
}
