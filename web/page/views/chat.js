// After a run: questions to the base model and to the tuned one, and their losses over the examples.
import { engine } from '../engine.js';
import { count, digits } from '../format.js';
import { guard } from '../messages.js';
import { base, busy, config, greeting, obstacle, run } from '../state.js';
import { html, signal } from '../ui.js';

const asked = signal(''); // the question as it is being written
const turns = signal([]); // [{question, base, tuned, done}]
const request = signal(null);
const measured = signal(null);

const settings = () => config.value ?? base.value;

async function ask(event) {
  event.preventDefault();
  const question = asked.value.trim();
  if (!question || request.value) return;
  asked.value = '';
  const at = turns.value.length;
  turns.value = [...turns.value, { question, base: '', tuned: '' }];
  const add = ({ event: kind, side, piece }) => {
    if (kind === 'piece') turns.value = turns.value.with(at, { ...turns.value[at], [side]: turns.value[at][side] + piece });
  };
  request.value = engine.ask('chat', { Settings: settings(), Run: run.value.id, Prompt: question,
    MaxTokens: greeting.value.answer_tokens }, { told: add });
  await guard('chat', () => request.value);
  request.value = null;
  turns.value = turns.value.with(at, { ...turns.value[at], done: true });
}

async function measure() {
  request.value = engine.ask('measure', { Settings: settings(), Run: run.value.id });
  measured.value = (await guard('chat', () => request.value)) ?? null;
  request.value = null;
}

export function Chat() {
  const { state } = run.value;
  if (busy.value || (state !== 'done' && !(state === 'paused' && !obstacle.value))) return null;
  const { base: before, tuned } = measured.value ?? {};
  return html`<section class="card" aria-labelledby="chat-title">
    <h2 id="chat-title">Ask it something else</h2>
    <form id="ask" class="ask" onSubmit=${ask}>
      <label class="sr" for="ask-text">Question</label>
      <div class="ask-line"><input id="ask-text" type="text" dir="auto" autocomplete="off" value=${asked.value}
          onInput=${({ target }) => { asked.value = target.value; }} />
        ${request.value ? html`<button type="button" id="ask-stop" onClick=${() => request.value.cancel()}>Stop</button>`
          : html`<button type="submit">Ask</button>`}</div>
      <div id="ask-answer" aria-live="polite">${turns.value.map(({ question, base: said, tuned: now, done }) => html`
        <p class="asked" dir="auto">${question}</p>
        <dl><dt>Before</dt><dd dir="auto">${said || (done ? '(nothing)' : '…')}</dd><dt>Now</dt><dd dir="auto">${now ||
          (done ? '(nothing)' : '…')}</dd></dl>`)}</div>
      <p class="buttons"><button type="button" class="quiet" id="measure" disabled=${request.value !== null}
        onClick=${measure}>Measure the loss on the examples</button>
        ${measured.value && html`<span id="measured" class="muted" role="status" data-loss=${tuned.eval_loss}>${digits(before.eval_loss)} before,
          ${digits(tuned.eval_loss)} now, over ${count(tuned.eval_rows)} examples.</span>`}</p>
    </form>
  </section>`;
}
