// The tokens of the first batch; those that the model learns to write are marked.
import { preview } from '../state.js';
import { html } from '../ui.js';

const sequences = 8, tokens = 400; // shown at most

export function Mask() {
  const batch = preview.value.found?.batch ?? [];
  const learned = batch.flat().filter(({ target }) => target).length, all = batch.flat().length;
  return html`<section class="card" aria-labelledby="mask-title">
    <h2 id="mask-title">What it learns from</h2>
    <p class="muted">The first batch of this run, token by token. The model <span class="target">learns to write</span> the answers; it
      only <span class="context">reads</span> the rest.</p>
    <div id="mask" class="mask" tabindex="0" role="group" aria-label="Tokens of the first batch">
      ${batch.slice(0, sequences).map((sequence) => html`<p dir="auto">${sequence.slice(0, tokens).map(({ text, target }) =>
        html`<span class=${target ? 'target' : 'context'}>${text}</span>`)}${sequence.length > tokens ? ' …' : ''}</p>`)}
    </div>
    <p id="mask-more" class="hint">${batch.length} examples with ${all} tokens, ${learned} of which are learned${batch.length > sequences
      ? `; the first ${sequences} examples are shown` : ''}.</p>
  </section>`;
}
