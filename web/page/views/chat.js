// After a run: a conversation with both sides, and their losses over the examples.
import { ask, asking, forgetTurns, measure, measured, measuring, most, options, sides, turns } from '../chatting.js';
import { count, digits, sentence } from '../format.js';
import { busy, data, obstacle, run } from '../state.js';
import { html, signal } from '../ui.js';

const question = signal('');

const ends = { cancelled: 'stopped', length: 'cut off at the number of tokens', 'context full': 'the model holds no more' };

function Said({ side, said, working }) {
  return html`<div class="said-by ${side}"><p class="who">${sides[side]}</p>
    <p dir="auto" class="text">${said.text.trim() || (working ? '…' : said.end === 'cancelled' ? '–' : '(nothing)')}</p>
    ${ends[said.end] && html`<p class="hint">${ends[said.end]}</p>`}</div>`;
}

function Turn({ turn, working }) {
  return html`<li class="turn"><p class="asked" dir="auto">${turn.question}</p>
    ${turn.error ? html`<div class="message error" role="alert"><p>${sentence(turn.error.message)}</p>
      ${turn.error.hint && html`<p class="way">${sentence(turn.error.hint)}</p>`}</div>`
      : html`<div class="sides">${Object.keys(sides).map((side) => html`<${Said} key=${side} side=${side} said=${turn[side]}
        working=${working} />`)}</div>`}
  </li>`;
}

function Options() {
  const { temperature, tokens } = options.value;
  const set = (more) => { options.value = { ...options.value, ...more }; };
  // what was typed is brought into its limits, or taken back where it is no number
  const limit = ({ target }) => {
    const wished = Math.round(Number(target.value));
    set({ tokens: wished ? Math.min(Math.max(wished, 1), most()) : tokens });
    target.value = options.value.tokens;
  };
  return html`<details><summary>How it answers</summary><div class="pick">
    <label for="temperature">Temperature ${temperature.toFixed(1)}</label>
    <input id="temperature" type="range" min="0" max="2" step="0.1" value=${temperature}
      onInput=${({ target }) => set({ temperature: Number(target.value) })} />
    <label for="max-tokens">Tokens at most</label>
    <input id="max-tokens" type="number" inputmode="numeric" min="1" max=${most()} value=${Math.min(tokens, most())} onChange=${limit} />
  </div><p class="hint">At temperature 0 it takes the likeliest token each time; higher is more random. An answer may have up to
    ${' '}${count(most())} tokens.</p></details>`;
}

const toField = () => document.getElementById('ask-text').focus({ preventScroll: true });

function stop() {
  asking.value?.cancel();
  toField();
}

export function Chat() {
  const { state } = run.value, works = asking.value !== null;
  if (busy.value || !(state === 'done' || (state === 'paused' && !obstacle.value))) return null;
  const submit = (event) => {
    event.preventDefault();
    if (works || !question.value.trim()) return;
    ask(question.value);
    question.value = '';
    toField(); // the button that was pressed goes away
  };
  const { base: before, tuned } = measured.value ?? {};
  return html`<section class="card" aria-labelledby="chat-title">
    <h2 id="chat-title">Chat with it</h2>
    <ol id="ask-answer" class="turns" aria-live="polite">${turns.value.map((turn, i) => html`<${Turn} key=${turn.key} turn=${turn}
      working=${works && i === turns.value.length - 1} />`)}</ol>
    <form id="ask" class="ask" novalidate onSubmit=${submit}>
      <label for="ask-text">${turns.value.length ? 'Go on' : 'Ask it something that is not among the examples'}</label>
      <div class="ask-line">
        <input id="ask-text" type="text" dir="auto" autocomplete="off" value=${question.value}
          onInput=${({ target }) => { question.value = target.value; }} />
        ${works ? html`<button type="button" id="ask-stop" key="stop" onClick=${stop}>Stop</button>`
          : html`<button type="submit" key="ask">Ask</button>`}
      </div>
      <${Options} />
      <p class="buttons">
        ${turns.value.length > 0 && html`<button type="button" class="quiet" id="forget-turns" onClick=${forgetTurns}>New
          conversation</button>`}
        <button type="button" class="quiet" id="measure" disabled=${works || !data.value} onClick=${measure}>Measure the loss on the
          examples</button>
      </p>
      ${measuring.value && html`<p id="measuring" class="muted">Measuring ${sides[measuring.value.side]}: example
        ${' '}${count(measuring.value.done)} of ${measuring.value.total ? count(measuring.value.total) : '…'}</p>`}
      ${measured.value && html`<p id="measured" class="muted" role="status" data-loss=${tuned.eval_loss}>${digits(before.eval_loss)} before,
        ${' '}${digits(tuned.eval_loss)} now, over ${count(tuned.eval_rows)} examples.</p>`}
    </form>
  </section>`;
}
