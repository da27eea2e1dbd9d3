// The examples: as a table of questions and answers where they are that, and as text.
import { count, plural } from '../format.js';
import { openData, settle } from '../inputs.js';
import { leaveForData } from '../run.js';
import { pickData } from '../picking.js';
import { busy, data, edited } from '../state.js';
import { html, signal } from '../ui.js';

const shown = 4; // rows of a page of the table
const tab = signal('table');
const first = signal(0);
const draft = signal(null); // the text as the user has it; null: as it is open

const pairsNow = () => edited.value?.pairs ?? data.value?.pairs ?? null;

function change(pairs) {
  leaveForData();
  edited.value = { pairs };
}

function Row({ at, pair }) {
  const set = (column) => ({ target }) => change(pairsNow().with(at, pair.with(column, target.value)));
  const remove = () => change(pairsNow().toSpliced(at, 1));
  return html`<div class="row">
    <textarea rows="1" dir="auto" class="question" aria-label=${`Question of example ${at + 1}`} disabled=${busy.value} value=${pair[0]}
      onInput=${set(0)} />
    <button type="button" class="quiet" aria-label=${`Remove example ${at + 1}`} disabled=${busy.value} onClick=${remove}>×</button>
    <textarea rows="1" dir="auto" class="answer-field" aria-label=${`Answer of example ${at + 1}`} disabled=${busy.value} value=${pair[1]}
      onInput=${set(1)} />
  </div>`;
}

function Table({ pairs }) {
  const from = Math.max(0, Math.min(first.value, Math.floor((pairs.length - 1) / shown) * shown)), to = Math.min(from + shown, pairs.length);
  const add = () => {
    change([...pairs, ['', '']]);
    first.value = Math.floor(pairs.length / shown) * shown;
    requestAnimationFrame(() => document.querySelector('#rows .row:last-child textarea')?.focus());
  };
  return html`<div id="rows" class="rows">${pairs.slice(from, to).map((pair, i) => html`<${Row} key=${from + i} at=${from + i} pair=${pair} />`)}</div>
    <p class="pager">
      <button type="button" class="quiet" id="rows-back" aria-label="Earlier examples" disabled=${from === 0}
        onClick=${() => { first.value = from - shown; }}>‹</button>
      <span id="rows-place" class="muted">${pairs.length ? `${from + 1} to ${to} of ${count(pairs.length)}` : 'none'}</span>
      <button type="button" class="quiet" id="rows-on" aria-label="Later examples" disabled=${to >= pairs.length}
        onClick=${() => { first.value = from + shown; }}>›</button>
      <button type="button" class="quiet push" id="row-add" disabled=${busy.value} onClick=${add}>Add an example</button>
    </p>`;
}

function Text() {
  const text = draft.value ?? data.value?.text ?? '';
  const use = async () => {
    const { value } = { value: text };
    leaveForData();
    if (await openData({ name: 'pasted', text: value, kind: 'text' })) draft.value = null;
    settle();
  };
  return html`<label class="sr" for="data-text">Examples as JSON Lines, a JSON array or a table</label>
    <textarea id="data-text" rows="10" spellcheck="false" dir="auto" disabled=${busy.value} value=${text}
      placeholder=${text || !data.value?.rows ? '' : 'The file is too long to be edited here.'}
      onInput=${({ target }) => { draft.value = target.value; }} />
    <p class="hint">Paste JSON Lines, a JSON array, or a table from a spreadsheet: messages, ShareGPT, Alpaca, prompt and completion,
      question and answer, or plain text. The format is found out.</p>
    ${draft.value !== null && html`<p class="buttons"><button type="button" id="data-apply" disabled=${busy.value} onClick=${use}>Use this
      text</button></p>`}`;
}

export function Examples() {
  const info = data.value, pairs = pairsNow(), chosen = pairs ? tab.value : 'text';
  const tabs = { table: 'Table', text: 'Text' };
  const move = ({ key }) => {
    if (key !== 'ArrowLeft' && key !== 'ArrowRight') return;
    tab.value = chosen === 'table' ? 'text' : 'table';
    document.getElementById(`tab-${tab.value}`).focus();
  };
  return html`<section class="card" aria-labelledby="data-title">
    <h2 id="data-title">Examples</h2>
    <p class="name"><span id="data-name">${info?.name ?? '…'}</span> <span id="data-facts" class="muted">${info &&
      `${plural(pairs?.length ?? info.rows, 'row')}, ${info.kind === 'edited' || edited.value ? 'edited here' : `${info.format}, ${info.container}`}`}</span></p>
    <div class="tabs" role="tablist" aria-label="How to edit the examples">
      ${Object.entries(tabs).map(([name, label]) => html`<button type="button" role="tab" id=${`tab-${name}`} aria-controls=${`panel-${name}`}
        aria-selected=${String(chosen === name)} tabindex=${chosen === name ? 0 : -1} disabled=${name === 'table' && !pairs} onKeyDown=${move}
        onClick=${() => { tab.value = name; }}>${label}</button>`)}
    </div>
    <div role="tabpanel" id=${`panel-${chosen}`} aria-labelledby=${`tab-${chosen}`}>
      ${chosen === 'table' ? html`<${Table} pairs=${pairs} />` : html`<${Text} />`}
    </div>
    <p class="buttons"><button type="button" class="quiet" id="pick-data" disabled=${busy.value} onClick=${pickData}>Open a file…</button></p>
  </section>`;
}
