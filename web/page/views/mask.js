// The tokens of the first batch, by the role of whose turn they are; those that the model learns to write are marked,
// and with each goes how likely the model finds it.
import { count, plural } from '../format.js';
import { chances, preview } from '../state.js';
import { html, signal } from '../ui.js';

const sequences = 8, tokens = 400; // shown at most

const at = signal(null); // [sequence, token] that is looked at

const roles = { system: 'in the system message', user: 'in the question', assistant: 'in the answer', tool: 'in what a tool says',
  '': 'a mark of the template' };

function percent(p) {
  if (p === null || p === undefined) return '–';
  return p > 0.9995 ? '100 %' : p < 0.0005 ? '< 0.1 %' : `${(100 * p).toPrecision(3)} %`;
}

// About says what there is to know of a token.
function About({ batch }) {
  const [row, column] = at.value ?? [];
  const token = batch[row]?.[column];
  if (!token) return html`<p id="mask-token" class="hint">Point at a token, or go through them with the arrow keys.</p>`;
  const { first, now } = chances.value, before = first?.sequences[row]?.[column], after = now?.sequences[row]?.[column];
  const learns = before === undefined ? 'The model learns to write it.'
    : html`The model found it <b>${percent(before)}</b> likely before, and after step ${now.step} <b>${percent(after)}</b>.`;
  return html`<p id="mask-token" class="hint">“${token.text}” is token ${token.id} of the vocabulary,
    ${' '}${roles[token.role] ?? token.role}. ${token.target ? learns : 'The model only reads it.'}</p>`;
}

function Token({ token, row, column }) {
  const { now } = chances.value, chance = token.target ? now?.sequences[row]?.[column] : undefined;
  const kind = token.target ? 'target' : 'context';
  return html`<span class="${kind} role-${token.role || 'mark'}" style=${{ '--chance': chance ?? 0 }} data-at=${`${row} ${column}`}
    data-looked=${(at.value?.[0] === row && at.value[1] === column) || undefined}>${token.text}</span>`;
}

export function Mask() {
  const batch = (preview.value.found?.batch ?? []).slice(0, sequences).map((sequence) => sequence.slice(0, tokens));
  const whole = preview.value.found?.batch ?? [];
  const learned = whole.flat().filter(({ target }) => target).length, all = whole.flat().length;
  const look = ({ target }) => { if (target.dataset?.at) at.value = target.dataset.at.split(' ').map(Number); };
  const move = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const flat = batch.flatMap((sequence, row) => sequence.map((_, column) => [row, column]));
    const here = flat.findIndex(([row, column]) => row === at.value?.[0] && column === at.value[1]);
    at.value = flat[Math.max(0, Math.min(flat.length - 1, here + step))] ?? null;
  };
  return html`<section class="card" aria-labelledby="mask-title">
    <h2 id="mask-title">What it learns from</h2>
    <p class="muted">The first batch of this run, token by token. The model <span class="target">learns to write</span> the answers; it
      only <span class="context role-user">reads</span> the rest. While it trains, what it finds likely is filled.</p>
    <div id="mask" class="mask" tabindex="0" role="group" aria-label="Tokens of the first batch" aria-describedby="mask-token"
      onMouseOver=${look} onClick=${look} onKeyDown=${move}>
      ${batch.map((sequence, row) => html`<p dir="auto" key=${row}>${sequence.map((token, column) =>
        html`<${Token} key=${column} token=${token} row=${row} column=${column} />`)}${whole[row].length > tokens ? ' …' : ''}</p>`)}
    </div>
    <${About} batch=${batch} />
    <p id="mask-more" class="hint">${all === 0 ? 'They are not there yet.'
      : `${plural(whole.length, 'example')} with ${count(all)} tokens, ${count(learned)} of which are learned${whole.length > sequences
        ? `; the first ${sequences} examples are shown` : ''}.`}</p>
  </section>`;
}
