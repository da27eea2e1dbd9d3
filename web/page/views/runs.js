// The list of runs.
import { digits } from '../format.js';
import { openRun } from '../run.js';
import { forgetAll, remove } from '../runs.js';
import { busy, run, runs } from '../state.js';
import { html, signal } from '../ui.js';

const asking = signal(''); // what is to be removed: a run's id, or all

const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

function Entry({ about }) {
  const { id, name, date, model, step, max_steps: max, loss, state } = about;
  return html`<li class="entry" aria-current=${run.value.id === id ? 'true' : undefined}>
    <span class="name">${name || model}</span>
    <span class="muted">${day.format(new Date(date))}, ${model}, ${state === 'adapter' ? 'an adapter' : `step ${step} of ${max}`}${loss ? `,
      loss ${digits(loss)}` : ''}</span>
    <span class="buttons">
      <button type="button" class="quiet" disabled=${busy.value} onClick=${() => openRun(id)}>${state === 'paused' ? 'Go on' : 'Open'}</button>
      ${asking.value === id
        ? html`<button type="button" class="quiet danger" onClick=${() => { asking.value = ''; remove(id); }}>Really delete</button>
          <button type="button" class="quiet" onClick=${() => { asking.value = ''; }}>Keep</button>`
        : html`<button type="button" class="quiet" disabled=${busy.value} aria-label=${`Delete ${name}`}
          onClick=${() => { asking.value = id; }}>Delete</button>`}
    </span>
  </li>`;
}

export function Runs() {
  if (!runs.value.length) return null;
  return html`<section class="card" aria-labelledby="runs-title">
    <h2 id="runs-title">Runs</h2>
    <ul id="runs" class="entries">${runs.value.map((about) => html`<${Entry} key=${about.id} about=${about} />`)}</ul>
    <p class="buttons">${asking.value === 'all'
      ? html`<button type="button" class="quiet danger" onClick=${forgetAll}>Really forget all of it</button>
        <button type="button" class="quiet" onClick=${() => { asking.value = ''; }}>Keep it</button>`
      : html`<button type="button" class="quiet" id="forget-all" disabled=${busy.value} onClick=${() => { asking.value = 'all'; }}>Forget
        everything</button>`}</p>
  </section>`;
}
