// The examples: as a table of questions and answers where they are that, and as text.
import { $, count, make } from './dom.js';

const shown = 4; // rows of a page of the table

export class Data {
  #pairs = null; // [question, answer] each, or null where rows are something else
  #first = 0;
  #timer = 0;
  #use;
  #locked = false;

  // use(name, text) is called with what the user wrote.
  constructor(use) {
    this.#use = use;
    const tabs = ['table', 'text'];
    for (const [i, name] of tabs.entries()) {
      $(`tab-${name}`).addEventListener('click', () => this.#tab(name));
      $(`tab-${name}`).addEventListener('keydown', ({ key }) => {
        if (key !== 'ArrowLeft' && key !== 'ArrowRight') return;
        this.#tab(tabs[1 - i]);
        $(`tab-${tabs[1 - i]}`).focus();
      });
    }
    $('rows-back').addEventListener('click', () => this.#page(-shown));
    $('rows-on').addEventListener('click', () => this.#page(shown));
    $('row-add').addEventListener('click', () => {
      this.#pairs.push(['', '']);
      this.#first = Math.floor((this.#pairs.length - 1) / shown) * shown;
      this.#table();
      $('rows').lastElementChild.querySelector('textarea').focus();
    });
    $('data-text').addEventListener('input', () => { $('data-apply').hidden = false; });
    $('data-apply').addEventListener('click', () => {
      const text = $('data-text').value;
      const start = text.trimStart()[0];
      use(start === '{' || start === '[' ? 'pasted.jsonl' : /^[^\n]*,/.test(text) ? 'pasted.csv' : 'pasted.txt', text);
    });
  }

  // show takes what the engine found in a data set.
  show({ name, format, container, rows, pairs, text }) {
    $('data-name').textContent = name;
    $('data-facts').textContent = `${count(rows)} ${rows === 1 ? 'row' : 'rows'}, ${format}, ${container}`;
    this.#pairs = pairs;
    this.#first = 0;
    $('data-text').value = text || '';
    $('data-text').placeholder = text ? '' : 'The file is too long to be edited here.';
    $('data-apply').hidden = true;
    $('tab-table').disabled = !pairs;
    this.#tab(pairs ? 'table' : 'text');
    this.#table();
  }

  lock(locked) {
    this.#locked = locked;
    for (const id of ['row-add', 'data-text', 'pick-data', 'data-reset', 'data-apply']) $(id).disabled = locked;
    this.#table();
  }

  #tab(name) {
    for (const each of ['table', 'text']) {
      const on = each === name;
      $(`tab-${each}`).setAttribute('aria-selected', String(on));
      $(`tab-${each}`).tabIndex = on ? 0 : -1;
      $(`panel-${each}`).hidden = !on;
    }
  }

  #page(by) {
    this.#first = Math.max(0, Math.min(this.#first + by, Math.floor((this.#pairs.length - 1) / shown) * shown));
    this.#table();
  }

  #table() {
    const pairs = this.#pairs ?? [];
    const last = Math.min(this.#first + shown, pairs.length);
    $('rows').replaceChildren(...pairs.slice(this.#first, last)
      .map(([question, answer], i) => this.#row(this.#first + i, question, answer)));
    $('rows-place').textContent = pairs.length ? `${this.#first + 1} to ${last} of ${count(pairs.length)}` : 'none';
    $('rows-back').disabled = this.#first === 0;
    $('rows-on').disabled = last >= pairs.length;
  }

  #row(at, question, answer) {
    const area = (column, value, label, kind) =>
      make('textarea', { rows: 1, class: kind, 'aria-label': `${label} of example ${at + 1}`, disabled: this.#locked, on: {
      input: ({ target }) => { this.#pairs[at][column] = target.value; this.#later(); },
    }, text: value });
    return make('div', { class: 'row' },
      area(0, question, 'Question', 'question'),
      make('button', { type: 'button', class: 'quiet', 'aria-label': `Remove example ${at + 1}`,
        disabled: this.#locked || this.#pairs.length === 1, text: '×', on: {
        click: () => { this.#pairs.splice(at, 1); this.#page(0); this.#later(); },
      } }),
      area(1, answer, 'Answer', 'answer'));
  }

  // later hands the edited table on when the user pauses.
  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const rows = this.#pairs.filter(([question, answer]) => question.trim() || answer.trim());
      const text = rows.map(([question, answer]) =>
        JSON.stringify({ messages: [{ role: 'user', content: question }, { role: 'assistant', content: answer }] })).join('\n');
      const place = this.#first;
      const focused = document.activeElement?.getAttribute('aria-label');
      this.#use('edited.jsonl', `${text}\n`, true).then((info) => {
        if (!info) return;
        $('data-name').textContent = info.name;
        $('data-facts').textContent = `${count(info.rows)} rows, edited here`;
        $('data-text').value = text;
        this.#first = place;
        if (focused === null) this.#table();
      });
    }, 600);
  }
}
