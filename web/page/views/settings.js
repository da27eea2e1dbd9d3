// The fields of the settings, each with what is wrong in it.
import { fields, limits, more } from '../fields.js';
import { faults, locked, memory, model, run, values } from '../state.js';
import { html } from '../ui.js';

function Field({ field }) {
  const { key, label, hint, choices } = field;
  const { min, max, step } = limits(field, model.value);
  const fault = faults.value[key];
  const change = ({ target }) => { values.value = { ...values.value, [key]: target.value }; };
  const shared = { id: key, value: values.value[key] ?? '', disabled: locked.value, 'aria-describedby': `${key}-hint`,
    'aria-invalid': String(fault !== undefined) };
  return html`<div class="field">
    <label for=${key}>${label}</label>
    ${choices ? html`<select ...${shared} onChange=${change}>${choices.map((text) => html`<option>${text}</option>`)}</select>`
      : html`<input type="number" inputmode="decimal" ...${{ ...shared, min, max, step }} onInput=${change} />`}
    <span id=${`${key}-hint`} class=${fault ? 'fault' : 'hint'}>${fault ? `Give ${fault}.` : hint}</span>
  </div>`;
}

export function Settings() {
  return html`<section class="card" aria-labelledby="settings-title">
    <h2 id="settings-title">Settings</h2>
    <form id="settings" class="fields" novalidate onSubmit=${(event) => event.preventDefault()}>
      ${fields.map((field) => html`<${Field} key=${field.key} field=${field} />`)}
      <details><summary>More settings</summary><div>
        ${more.map((field) => html`<${Field} key=${field.key} field=${field} />`)}
        <div class="field">
          <label for="Memory">Memory, GiB</label>
          <input id="Memory" type="number" inputmode="decimal" min="0" step="any" aria-describedby="Memory-hint" value=${memory.value}
            aria-invalid=${String(faults.value.Memory !== undefined)}
            onInput=${({ target }) => { memory.value = target.value; }} />
          <span id="Memory-hint" class=${faults.value.Memory ? 'fault' : 'hint'}>${faults.value.Memory ? `Give ${faults.value.Memory}.`
            : 'What a run may take. Empty: unknown'}</span>
        </div>
      </div></details>
    </form>
    ${run.value.state === 'paused' && html`<p id="settings-note" class="hint">These settings belong to the run that can go on. A new run has
      its own.</p>`}
  </section>`;
}
