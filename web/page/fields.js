// The settings that the page offers; all others stay as the trainer's defaults or a checkpoint have them. Keys are
// those of a configuration file.
const whole = (min, max) => ({ min, max, step: 1 });
const real = (min, max) => ({ min, max, step: 'any' });

export const fields = [
  { key: 'lora_r', label: 'Rank', hint: 'Size of the adapter', ...whole(1, 256) },
  { key: 'lora_alpha', label: 'Alpha', hint: 'Its strength, with the rank', ...real(0.5, 1024) },
  { key: 'max_steps', label: 'Steps', hint: 'Updates in all', ...whole(1, 100000) },
  { key: 'learning_rate', label: 'Learning rate', hint: 'Large models: 0.0002', ...real(0, 1) },
  { key: 'max_seq_length', label: 'Sequence length', hint: 'Tokens kept of an example', ...whole(8, 1 << 20) },
  { key: 'batch_size', label: 'Batch', hint: 'Examples at a time', ...whole(1, 1024) },
];
export const more = [
  { key: 'gradient_accumulation_steps', label: 'Batches a step', hint: 'Summed before an update', ...whole(1, 1024) },
  { key: 'val_size', label: 'Held back', hint: 'Examples that it does not learn, to see what it makes of new ones', ...real(0, 100000) },
  { key: 'save_steps', label: 'Save every', hint: 'Steps between checkpoints', ...whole(1, 100000) },
  { key: 'max_grad_norm', label: 'Clip the norm at', hint: '0: never', ...real(0, 1e6) },
  { key: 'seed', label: 'Seed', hint: 'The same one gives the same run', ...whole(0, 2 ** 32 - 1) },
  { key: 'gradient_checkpointing', label: 'Recompute activations', hint: 'Saves memory, costs time',
    choices: ['auto', 'full', 'selective', 'off'] },
];
export const all = [...fields, ...more];

// limits of a field with this model.
export const limits = (field, model) =>
  (field.key === 'max_seq_length' && model ? { ...field, max: Math.min(field.max, model.max_positions) } : field);

const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 6 });

// check gives for each field whose text no run could use what it may be.
export function check(values, model) {
  const faults = {};
  for (const field of all) {
    const { key, min, max, step, choices } = limits(field, model);
    const text = values[key];
    if (text === undefined || choices) continue;
    const number = Number(text), kind = step === 1 ? 'a whole number' : 'a number';
    const within = text.trim() !== '' && number >= min && number <= max, good = within && (step !== 1 || Number.isInteger(number));
    if (!good) faults[key] = `${kind} from ${plain.format(min)} to ${plain.format(max)}`;
  }
  return faults;
}
