// Examples as a table of questions and answers, a page at a time.
import { canUndo, change, paste, pairs, undo } from '../editing.js';
import { count } from '../format.js';
import { busy } from '../state.js';
import { html, signal } from '../ui.js';

const shown = 4; // rows of a page
const first = signal(0);

function Row({ at, pair }) {
  const field = (column, kind, label) => html`<textarea rows="1" dir="auto" class=${kind} aria-label=${`${label} of example ${at + 1}`}
    disabled=${busy.value} value=${pair[column]} placeholder=${label}
    onInput=${({ target }) => change(pairs.value.with(at, pair.with(column, target.value)), `${at} ${column}`)}
    onPaste=${(event) => { if (paste(event.clipboardData.getData('text/plain'), at, column)) event.preventDefault(); }} />`;
  return html`<div class="row">
    ${field(0, 'question', 'Question')}
    <button type="button" class="quiet" aria-label=${`Remove example ${at + 1}`} disabled=${busy.value}
      onClick=${() => change(pairs.value.toSpliced(at, 1))}>×</button>
    ${field(1, 'answer-field', 'Answer')}
  </div>`;
}

function Pager({ from, to, total }) {
  const page = Math.floor(from / shown) + 1, pages = Math.max(1, Math.ceil(total / shown));
  return html`<p class="pager">
    <button type="button" class="quiet" id="rows-back" aria-label="Earlier examples" disabled=${from === 0}
      onClick=${() => { first.value = from - shown; }}>‹</button>
    <span id="rows-place" class="muted">${total ? `${count(from + 1)} to ${count(to)} of ${count(total)}` : 'none'}</span>
    <button type="button" class="quiet" id="rows-on" aria-label="Later examples" disabled=${to >= total}
      onClick=${() => { first.value = from + shown; }}>›</button>
    ${pages > 10 && html`<label class="page">Page <input id="rows-page" type="number" min="1" max=${pages} value=${page}
      onChange=${({ target }) => { first.value = (Math.min(pages, Math.max(1, Number(target.value) || 1)) - 1) * shown; }} /></label>`}
  </p>`;
}

// pageOf gives the rows to show of so many.
export function pageOf(total) {
  const from = Math.max(0, Math.min(first.value, Math.floor((total - 1) / shown) * shown));
  return { from, to: Math.min(from + shown, total), total };
}

export function Table() {
  const list = pairs.value, page = pageOf(list.length);
  const add = () => {
    change([...list, ['', '']]);
    first.value = Math.floor(list.length / shown) * shown;
    requestAnimationFrame(() => document.querySelector('#rows .row:last-child textarea')?.focus());
  };
  const undoKey = (event) => {
    if (event.key !== 'z' || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.target.matches('textarea')) return;
    event.preventDefault();
    undo();
  };
  return html`<div onKeyDown=${undoKey} class="table">
    <div id="rows" class="rows">${list.slice(page.from, page.to).map((pair, i) => html`<${Row} key=${page.from + i} at=${page.from + i}
      pair=${pair} />`)}</div>
    <${Pager} ...${page} />
    <p class="buttons">
      <button type="button" class="quiet" id="row-add" disabled=${busy.value} onClick=${add}>Add an example</button>
      <button type="button" class="quiet" id="rows-undo" disabled=${busy.value || !canUndo.value} onClick=${undo}>Undo</button>
      <button type="button" class="quiet" id="rows-clear" disabled=${busy.value || !list.length}
        onClick=${() => change([['', '']])}>Empty the table</button>
    </p>
  </div>`;
}

export { Pager };
