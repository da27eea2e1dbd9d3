// Which column is the question? The first rows of a file, and a choice.
import { openClear, unclear } from '../editing.js';
import { html, useEffect, useRef, useState } from '../ui.js';

function Choose({ ambiguous }) {
  const { columns, header: named, table, undecided, preview, source } = ambiguous;
  const [question, setQuestion] = useState(0), [answer, setAnswer] = useState(columns.length - 1), [system, setSystem] = useState(-1);
  const [header, setHeader] = useState(named);
  const place = useRef(null);
  useEffect(() => { place.current.focus(); }, []); // it may be out of sight
  const names = header || !undecided ? columns : columns.map((_, i) => `column ${i + 1}`);
  const select = (id, label, value, set, none) => html`<div class="field"><label for=${id}>${label}</label>
    <select id=${id} value=${value} onChange=${({ target }) => set(Number(target.value))}>
      ${none && html`<option value="-1">none</option>`}${names.map((name, i) => html`<option value=${i}>${name}</option>`)}</select></div>`;
  const said = (i) => (table ? String(i + 1) : columns[i]);
  const back = () => document.getElementById('tab-table').focus({ preventScroll: true });
  const use = () => {
    back();
    openClear({ ...source, columns: [`prompt=${said(question)}`, `completion=${said(answer)}`,
      ...(system < 0 ? [] : [`system=${said(system)}`]), ...(undecided ? [`header=${header ? 'yes' : 'no'}`] : [])].join(',') });
  };
  return html`<div class="columns" role="group" tabindex="-1" ref=${place} aria-labelledby="columns-title">
    <h3 id="columns-title">Which column is the question?</h3>
    <div class="scroll"><table><thead><tr>${names.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead><tbody>
      ${preview.slice(table && header ? 1 : 0).map((row) => html`<tr>${row.map((cell) => html`<td dir="auto">${cell}</td>`)}</tr>`)}
    </tbody></table></div>
    <div class="fields">${select('column-question', 'Question', question, setQuestion)}
      ${select('column-answer', 'Answer', answer, setAnswer)}
      ${columns.length > 2 && select('column-system', 'System message', system, setSystem, true)}</div>
    ${undecided && html`<label class="check"><input type="checkbox" id="column-header" checked=${header}
      onChange=${({ target }) => setHeader(target.checked)} /> The first row names the columns</label>`}
    <p class="buttons">
      <button type="button" class="primary" id="columns-use" disabled=${question === answer} onClick=${use}>Use these</button>
      <button type="button" class="quiet" onClick=${() => { back(); unclear.value = null; }}>Keep the examples as they were</button>
    </p>
  </div>`;
}

export const Columns = () => unclear.value && html`<${Choose} key=${unclear.value.source} ambiguous=${unclear.value} />`;
