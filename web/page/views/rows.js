// Examples that are no plain questions and answers, or too many to be edited: to look at, a page at a time.
import { engine } from '../engine.js';
import { data } from '../state.js';
import { html, useEffect, useState } from '../ui.js';
import { Pager, pageOf } from './table.js';

export function Rows() {
  const info = data.value, { from, to, total } = pageOf(info.rows);
  const [rows, setRows] = useState([]);
  useEffect(() => {
    let wanted = true;
    engine.ask('rows', { First: from, Count: to - from }).then((found) => { if (wanted) setRows(found); }, () => {});
    return () => { wanted = false; };
  }, [info, from, to]);
  return html`<div class="table"><div id="rows" class="rows">${rows.map(({ text, turns }, i) => html`<div class="row look" key=${from + i}>
      ${turns?.length ? turns.map(({ role, content }) => html`<p dir="auto"><b>${role}</b> ${content}</p>`)
        : html`<p dir="auto">${text}</p>`}
    </div>`)}</div>
    <${Pager} from=${from} to=${to} total=${total} />
    <p class="hint">${info.text ? 'These can be edited as text.' : 'The file is too large to be edited here.'}</p></div>`;
}
