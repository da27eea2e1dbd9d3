// The list of runs.
import { digits } from '../format.js';
import { openRun } from '../run.js';
import { compare, forgetAll, remove, rename, save } from '../runs.js';
import { guard } from '../messages.js';
import { busy, compared, run, runs } from '../state.js';
import { html, signal } from '../ui.js';

const asking = signal(''); // what is to be removed: a run's id, or all
const naming = signal(''); // the run whose name is being changed

const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

// sure asks before something is removed, or takes the question back.
function sure({ target }, what, focus) {
  asking.value = what;
  focusIn(target.closest('.entry, .card'), focus);
}

function Name({ id, name }) {
  if (naming.value !== id) return html`<button type="button" class="name plain" title="Rename"
    onClick=${() => { naming.value = id; }}>${name}</button>`;
  // a field that goes away loses the focus too: what was decided then is not decided again
  const done = ({ target }) => {
    if (naming.value !== id) return;
    naming.value = '';
    if (target.value.trim() && target.value.trim() !== name) rename(id, target.value.trim());
  };
  const key = (event) => {
    if (event.key !== 'Enter' && event.key !== 'Escape') return;
    const entry = event.target.closest('.entry');
    if (event.key === 'Enter') done(event);
    naming.value = '';
    focusIn(entry, 'button.name');
  };
  return html`<input class="name" aria-label="Name of the run" dir="auto" maxlength="200" value=${name}
    ref=${focusNew} onBlur=${done} onKeyDown=${key} />`;
}

const focusNew = (field) => { field?.focus(); }; // once: it stays the same function

// focusIn gives the focus to what has taken the place of a button that had it.
const focusIn = (place, what) => requestAnimationFrame(() => (place.querySelector(what) ?? document.getElementById('stage')).focus());

function figures({ model, step, max_steps: max, loss, eval_loss: held, state }) {
  if (state === 'adapter') return 'an adapter from elsewhere';
  return [model, `step ${step} of ${max}`, loss ? `loss ${digits(loss)}` : '', held !== null ? `${digits(held)} held back` : '']
    .filter(Boolean).join(', ');
}

function Entry({ about }) {
  const { id, name, model, date, state } = about, off = busy.value, label = name || model;
  const removeIt = async (event) => {
    const list = event.target.closest('.card').parentNode;
    asking.value = '';
    await remove(id);
    focusIn(list, '#runs .name');
  };
  return html`<li class="entry" aria-current=${run.value.id === id ? 'true' : undefined}>
    <${Name} id=${id} name=${label} />
    <span class="muted">${day.format(new Date(date))}: ${figures(about)}</span>
    ${asking.value === id
      ? html`<span class="buttons"><button type="button" class="quiet danger" key="really"
          onClick=${removeIt}>Really delete</button>
        <button type="button" class="quiet" key="keep" onClick=${(event) => sure(event, '', '.delete')}>Keep</button></span>`
      : html`<span class="buttons">
        <button type="button" class="quiet" disabled=${off} aria-label=${`${state === 'paused' ? 'Go on with' : 'Open'} ${label}`}
          onClick=${() => openRun(id)}>${state === 'paused' ? 'Go on' : 'Open'}</button>
        ${state !== 'adapter' && run.value.id !== id && html`<button type="button" class="quiet" disabled=${off}
          aria-pressed=${String(compared.value.has(id))} aria-label=${`Compare ${label}`} onClick=${() => compare(about)}>Compare</button>`}
        <button type="button" class="quiet" disabled=${off} aria-label=${`Download the adapter of ${label}`}
          onClick=${() => guard('runs', () => save('adapter', id))}>Download</button>
        <button type="button" class="quiet delete" key="delete" disabled=${off} aria-label=${`Delete ${label}`}
          onClick=${(event) => sure(event, id, '.danger')}>Delete</button>
      </span>`}
  </li>`;
}

export function Runs() {
  if (!runs.value.length) return null;
  return html`<section class="card" aria-labelledby="runs-title">
    <h2 id="runs-title">Runs</h2>
    <ul id="runs" class="entries">${runs.value.map((about) => html`<${Entry} key=${about.id} about=${about} />`)}</ul>
    <p class="buttons">${asking.value === 'all'
      ? html`<button type="button" class="quiet danger" id="forget-really" onClick=${forgetAll}>Really forget all of it</button>
        <button type="button" class="quiet" onClick=${(event) => sure(event, '', '#forget-all')}>Keep it</button>`
      : html`<button type="button" class="quiet" id="forget-all" disabled=${busy.value}
        onClick=${(event) => sure(event, 'all', '#forget-really')}>Forget everything</button>`}</p>
    <p class="hint">Runs lie in this browser alone. On a computer that others use too, forget everything when you leave.</p>
  </section>`;
}
