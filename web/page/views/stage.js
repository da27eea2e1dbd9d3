// The stage: Start, what is going on, and the answers as they change.
import { count, digits, duration, plural } from '../format.js';
import { leave, pause, start } from '../run.js';
import { busy, doing, latest, obstacle, opening, preview, questions, run } from '../state.js';
import { html } from '../ui.js';
import { Answer } from './answer.js';

// status says what the page is at. It never says Ready where Start is off.
function status() {
  const { state, step, steps } = run.value;
  if (state === 'pausing' || state === 'stopping') return 'Finishing this step and saving…';
  if (busy.value) return doing.value ? `${doing.value}…` : `Training: step ${count(step)} of ${count(steps)}.`;
  if (obstacle.value) return obstacle.value;
  if (state === 'paused') return `Paused after step ${step} of ${count(steps)}. It is kept in this browser; you may close the page.`;
  if (state === 'done') {
    return step < steps ? `Stopped after step ${step}. The adapter is as far as it came.`
      : `Done: ${plural(steps, 'step')}. Ask it something, and take the adapter with you.`;
  }
  const { found } = preview.value;
  if (!found) return 'Looking at the examples…';
  return `Ready: ${plural(found.steps, 'step')} over ${plural(found.report.samples, 'example')}.`;
}

function StartButton() {
  const { state, step } = run.value;
  if (busy.value) return null;
  const label = state === 'paused' ? `Go on from step ${step}` : state === 'done' ? 'Train again' : 'Start';
  return html`<button type="button" class=${state === 'done' ? '' : 'primary'} id="start" disabled=${obstacle.value !== ''}
    onClick=${start}>${label}</button>`;
}

// A double click on Start must not press what takes its place.
const single = (act) => (event) => { if (event.detail < 2) act(); };

export function Stage() {
  const { state, step = 0, steps = 1 } = run.value;
  const ending = state === 'pausing' || state === 'stopping', last = latest.value;
  const { done, total, cancel } = opening.value ?? {};
  return html`<section class="card stage" id="stage" aria-label="Training" tabindex="-1">
    <div class="run-head">
      <p id="status" class="status" role="status">${status()}</p>
      <div class="buttons actions">
        <${StartButton} />
        ${busy.value && html`<button type="button" id="pause" disabled=${ending} onClick=${single(() => pause(false))}>Pause</button>
          <button type="button" id="stop" disabled=${ending} onClick=${single(() => pause(true))}>Stop</button>`}
        ${state === 'paused' && html`<button type="button" id="fresh" onClick=${leave}>New run</button>`}
        ${cancel && html`<button type="button" id="cancel" onClick=${cancel}>Cancel</button>`}
      </div>
    </div>
    <progress id="progress" aria-label=${cancel ? 'Bytes' : 'Steps done'} max=${cancel ? total || undefined : steps}
      value=${cancel ? done : step} />
    <div class="answers" id="answers" role="list" aria-label="Questions and answers">
      ${questions.value.map((each, i) => html`<${Answer} key=${each.key} entry=${each} at=${i} />`)}
    </div>
    ${last && html`<dl class="stats">
      <div><dt>Loss</dt><dd id="stat-loss">${last.loss === null ? 'not finite' : digits(last.loss)}</dd></div>
      <div><dt>Right tokens</dt><dd id="stat-accuracy">${(100 * last.mean_token_accuracy).toFixed(0)} %</dd></div>
      <div><dt>Tokens a second</dt><dd id="stat-speed">${count(last.tokens_per_second)}</dd></div>
      <div><dt>Left</dt><dd id="left">${busy.value && last.step < last.max_steps ? duration(last.seconds * (last.max_steps - last.step)) : '–'}</dd></div>
    </dl>`}
  </section>`;
}
