// Questions, and what the model answers before, while and after it learns.
import { $, make } from './dom.js';

const columns = ['Before', 'So far', 'After'];

export class Answers {
  #rows = []; // {prompt: textarea, cells: [before, now, after]}
  #changed;

  constructor(changed) { this.#changed = changed; }

  // set shows questions without answers.
  set(prompts) {
    const role = (name, attributes, ...children) => make('div', { role: name, ...attributes }, ...children);
    this.#rows = prompts.map((text, i) => {
      const prompt = make('textarea',
        { rows: 2, 'aria-label': `Question ${i + 1}`, text, on: { input: () => { this.#clear(i); this.#changed(); } } });
      return { prompt, cells: columns.map((name) =>
        role('cell', { 'data-label': name, class: name.toLowerCase().replace(' ', '-'), text: '–' })) };
    });
    $('answers').replaceChildren(
      role('rowgroup', {}, role('row', { class: 'head' }, ...['Question', ...columns].map((text) => role('columnheader', { text })))),
      role('rowgroup', {}, ...this.#rows.map(({ prompt, cells }) => role('row', {}, role('cell', {}, prompt), ...cells))));
  }

  prompts() { return this.#rows.map(({ prompt }) => prompt.value.trim()).filter(Boolean); }

  lock(locked) { for (const { prompt } of this.#rows) prompt.disabled = locked; }

  clear() { for (const i of this.#rows.keys()) this.#clear(i); }

  #clear(i) { for (const cell of this.#rows[i].cells) cell.textContent = '–'; }

  // add shows an answer given after a step; the last step's is the one after.
  add({ step, prompt, answer }, last) {
    const row = this.#rows.find((each) => each.prompt.value.trim() === prompt);
    if (!row) return;
    const text = answer || '(nothing)';
    if (step === 0) row.cells[0].textContent = text;
    else {
      row.cells[1].textContent = text;
      row.cells[1].title = `after step ${step}`;
      if (step >= last) row.cells[2].textContent = text;
    }
  }
}
