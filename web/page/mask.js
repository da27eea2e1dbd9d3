// The tokens of the first batch; those that the model learns to write are marked.
import { $, make } from './dom.js';

const sequences = 8, tokens = 400; // shown at most

export function showMask(batch) {
  $('mask').replaceChildren(...batch.slice(0, sequences).map((sequence) => {
    const spans = sequence.slice(0, tokens).map(({ text, target }) => make('span', { class: target ? 'target' : 'context', text }));
    if (sequence.length > tokens) spans.push(make('span', { class: 'context', text: ' …' }));
    return make('p', {}, ...spans);
  }));
  const learned = batch.flat().filter(({ target }) => target).length, all = batch.flat().length;
  $('mask-more').textContent = `${batch.length} examples with ${all} tokens, ${learned} of which are ` +
    `learned${batch.length > sequences ? `; the first ${sequences} examples are shown` : ''}.`;
}
