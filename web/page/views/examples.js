// The examples: as a table, and as text.
import { openClear, pairs } from '../editing.js';
import { count, plural, sentence } from '../format.js';
import { leaveForData } from '../run.js';
import { pickData } from '../picking.js';
import { busy, data, edited, mistakes } from '../state.js';
import { html, signal } from '../ui.js';
import { Columns } from './columns.js';
import { Rows } from './rows.js';
import { Table } from './table.js';

const tabs = { table: 'Table', text: 'Text' };
const tab = signal('table');
const draft = signal(null); // the text as the user has it; null: as it is open

function Text() {
  const text = draft.value ?? data.value?.text ?? '';
  const use = async () => {
    leaveForData();
    if (await openClear({ name: 'pasted', text, kind: 'text' })) draft.value = null;
  };
  return html`<label class="sr" for="data-text">Examples as JSON Lines, a JSON array or a table</label>
    <textarea id="data-text" rows="10" spellcheck="false" dir="auto" disabled=${busy.value} value=${text}
      placeholder=${text || !data.value?.rows ? '' : 'The file is too long to be edited here.'}
      onInput=${({ target }) => { draft.value = target.value; }} />
    <p class="hint">Paste JSON Lines, a JSON array, or a table from a spreadsheet: messages, ShareGPT, Alpaca, prompt and completion,
      question and answer, or plain text. The format is found out.</p>
    ${draft.value !== null && html`<p class="buttons"><button type="button" id="data-apply" disabled=${busy.value} onClick=${use}>Use this
      text</button><button type="button" class="quiet" onClick=${() => { draft.value = null; }}>Back to what is open</button></p>`}`;
}

function Tabs() {
  const move = ({ key }) => {
    if (key !== 'ArrowLeft' && key !== 'ArrowRight') return;
    tab.value = tab.value === 'table' ? 'text' : 'table';
    document.getElementById(`tab-${tab.value}`).focus();
  };
  return html`<div class="tabs" role="tablist" aria-label="How to see the examples">
    ${Object.entries(tabs).map(([name, label]) => html`<button type="button" role="tab" key=${name} id=${`tab-${name}`}
      aria-controls=${`panel-${name}`} aria-selected=${String(tab.value === name)} tabindex=${tab.value === name ? 0 : -1} onKeyDown=${move}
      onClick=${() => { tab.value = name; }}>${label}</button>`)}
  </div>`;
}

// own examples are written or changed here: the name of what they were before would lie.
const own = () => Boolean(edited.value?.pairs) || data.value?.kind === 'edited';

function facts() {
  const info = data.value;
  if (own()) return `${plural(pairs.value?.length ?? info.rows, 'row')}, edited here`;
  return info ? `${count(info.rows)} ${info.rows === 1 ? 'row' : 'rows'}, ${info.format}, ${info.container}` : '';
}

function Mistakes() {
  const { lines = [], others, looked, rows } = mistakes.value ?? {};
  const rest = [others > 0 && `There are ${plural(others, 'finding')} of other kinds.`,
    looked < rows && `Of ${count(rows)} rows the first ${count(looked)} were looked at.`].filter(Boolean);
  return html`<div id="mistakes" class="mistakes" aria-live="polite">${lines.length > 0 && html`
    <h3>Probably mistakes</h3>
    <ul>${lines.map((line) => html`<li key=${line}>${sentence(line)}</li>`)}</ul>
    ${rest.length > 0 && html`<p>${rest.join(' ')} The program tells of all: qlora-wgpu data inspect.</p>`}`}</div>`;
}

export function Examples() {
  return html`<section class="card" aria-labelledby="data-title">
    <h2 id="data-title">Examples</h2>
    <p class="name"><span id="data-name">${own() ? 'Your examples' : data.value?.name ?? '…'}</span>
      ${' '}<span id="data-facts" class="muted">${facts()}</span></p>
    <${Columns} />
    <${Tabs} />
    <div role="tabpanel" id=${`panel-${tab.value}`} aria-labelledby=${`tab-${tab.value}`}>
      ${tab.value === 'text' ? html`<${Text} />` : pairs.value ? html`<${Table} />` : data.value ? html`<${Rows} />` : null}
    </div>
    <${Mistakes} />
    <p class="buttons">
      <button type="button" class="quiet" id="pick-data" disabled=${busy.value} onClick=${pickData}>Open a file…</button>
    </p>
    <p class="hint">Or drop a file anywhere: CSV, TSV, JSON, JSON Lines or text. From a spreadsheet, copy the cells and paste them into the
      table.</p>
  </section>`;
}
