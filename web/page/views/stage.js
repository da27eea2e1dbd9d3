// The stage: Start, what is going on, and the answers as they change.
import { askToTell, mayTell } from '../awake.js';
import { count, digits, duration, plural } from '../format.js';
import { guard, Messages } from '../messages.js';
import { left, percent } from '../pace.js';
import { leave, pause, start } from '../run.js';
import { save } from '../runs.js';
import { absent, busy, curve, doing, greeting, latest, obstacle, opening, preview, questions, recorded, run } from '../state.js';
import { computed, html, useEffect, useRef } from '../ui.js';
import { Answer } from './answer.js';

// status says what the page is at. It never says Ready where Start is off.
export const status = computed(() => {
  if (absent.value) {
    return recorded.value ? `A recording: step ${count(latest.value?.step ?? 0)} of ${count(curve.value.max)}.` : 'Choose what it learns.';
  }
  const { state, step, steps } = run.value;
  if (state === 'pausing' || state === 'stopping') return 'Finishing this step and saving…';
  if (busy.value) {
    const { text, done, total, kind } = doing.value ?? {};
    if (text && kind !== 'stepping') return `${text}${total && kind !== 'answering' ? `: ${Math.floor(100 * done / total)} %` : ''}…`;
    return `Training: step ${count(Math.min(step + 1, steps))} of ${count(steps)}.`;
  }
  if (obstacle.value) return obstacle.value;
  if (state === 'paused') {
    const owed = step === steps ? ' The answers at the end are still to come.' : '';
    return `Paused after step ${step} of ${count(steps)}.${owed} ${greeting.value.unkept ? 'It is gone with this tab: download a checkpoint.'
      : 'It is kept in this browser; you may close the page.'}`;
  }
  if (state === 'done') {
    if (!steps) return 'An adapter from elsewhere. Ask it something.';
    return step < steps ? `Stopped after step ${step}. The adapter is as far as it came.`
      : `Done: ${plural(steps, 'step')}. Ask it something, and take the adapter with you.`;
  }
  const { found, seconds } = preview.value;
  if (!found) return 'Looking at the examples…';
  return `Ready: ${plural(found.steps, 'step')} over ${plural(found.report.samples, 'example')}` +
    `${seconds ? `, about ${duration(seconds)} on this device` : ''}.`;
});

// spoken is what a screen reader is told: not every step, but every tenth of the run.
const spoken = computed(() => {
  const training = busy.value && (!doing.value?.text || doing.value.kind === 'stepping');
  return training ? `Training: ${Math.floor(percent.value / 10) * 10} % done.` : status.value;
});

// A double click or tap on Start must not press what takes its place; a key or a script (detail 0) does not slip.
const slip = 400; // ms
let pressed = -Infinity;
const press = ({ timeStamp }) => {
  pressed = timeStamp;
  start();
};
const single = (act) => ({ detail, timeStamp }) => { if (detail === 0 || (detail === 1 && timeStamp - pressed > slip)) act(); };

function Buttons() {
  const { state, step, id } = run.value, ending = state === 'pausing' || state === 'stopping';
  if (absent.value) return null;
  if (busy.value) {
    return html`<button type="button" id="pause" key="pause" disabled=${ending} onClick=${single(() => pause(false))}>Pause</button>
      <button type="button" id="stop" key="stop" disabled=${ending} onClick=${single(() => pause(true))}>Stop</button>`;
  }
  const label = state === 'paused' ? `Go on from step ${step}` : state === 'done' ? 'Train again' : 'Start';
  return html`
    ${(state === 'done' || state === 'paused') && html`<button type="button" id="save-adapter" key="save"
      class=${state === 'done' ? 'primary' : ''} onClick=${() => guard('take', () => save('adapter', id))}>Download the adapter</button>`}
    <button type="button" id="start" key="start" class=${state === 'done' ? '' : 'primary'} disabled=${obstacle.value !== ''}
      onClick=${press}>${label}</button>
    ${state === 'paused' && html`<button type="button" id="fresh" key="fresh" onClick=${leave}>New run</button>`}
    ${opening.value && html`<button type="button" id="cancel" key="cancel" onClick=${() => opening.value?.cancel()}>Cancel</button>`}`;
}

function Bar() {
  const { step = 0, steps } = run.value, { done, total } = opening.value ?? doing.value ?? {};
  const own = opening.value || (doing.value && doing.value.kind !== 'stepping');
  if (own) return html`<progress id="progress" aria-label="Progress" max=${total || undefined} value=${total ? done : undefined} />`;
  if (absent.value) return html`<progress id="progress" aria-label="Recorded steps" max=${curve.value.max}
    value=${latest.value?.step ?? 0} />`;
  const part = doing.value?.kind === 'stepping' && doing.value.step > step ? doing.value.done / doing.value.total : 0;
  return html`<progress id="progress" aria-label="Steps done" max=${steps || 1} value=${Math.min(step + part, steps || 1)} />`;
}

function Figures() {
  const last = latest.value;
  if (!last) return null;
  return html`<dl class="stats">
    <div><dt>Loss</dt><dd id="stat-loss">${last.loss === null ? 'not finite' : digits(last.loss)}</dd></div>
    <div><dt>Right tokens</dt><dd id="stat-accuracy">${(100 * last.mean_token_accuracy).toFixed(0)} %</dd></div>
    ${last.tokens_per_second && html`<div><dt>Tokens a second</dt><dd id="stat-speed">${count(last.tokens_per_second)}</dd></div>`}
    ${busy.value && html`<div><dt>Time left</dt><dd id="left">${left.value === null ? '–' : duration(left.value)}</dd></div>`}
  </dl>`;
}

export function Stage() {
  const place = useRef(null), { state } = run.value;
  // where a button goes that had the focus, the one that takes its place gets it
  useEffect(() => {
    if (document.activeElement !== document.body || !place.current.dataset.focused) return;
    const first = place.current.querySelector('.actions .primary:enabled') ?? place.current.querySelector('.actions button:enabled');
    first?.focus({ preventScroll: true });
  }, [state, obstacle.value]);
  const mark = ({ type }) => { if (type === 'focusin') place.current.dataset.focused = 'yes'; };
  useEffect(() => {
    const forget = ({ target }) => { if (!place.current?.contains(target)) delete place.current?.dataset.focused; };
    document.addEventListener('focusin', forget);
    return () => document.removeEventListener('focusin', forget);
  }, []);
  return html`<section class="card stage" id="stage" aria-label="Training" tabindex="-1" ref=${place} onFocusIn=${mark}>
    <div class="run-head">
      <p id="status" class="status">${status.value}</p>
      <p class="sr" role="status">${spoken.value}</p>
      <div class="buttons actions"><${Buttons} /></div>
    </div>
    <${Bar} />
    ${busy.value && mayTell.value === 'default' && html`<p class="hint">You may look elsewhere meanwhile.
      ${' '}<button type="button" id="tell-end" class="quiet" onClick=${askToTell}>Tell me when it is done</button></p>`}
    <${Messages} />
    ${recorded.value && !absent.value && html`<p id="recorded" class="hint">A recorded run of this subject. Start trains your own in its
      place.</p>`}
    <div class="answers" id="answers" role="list" aria-label="Questions and answers">
      ${questions.value.map((each, i) => html`<${Answer} key=${each.key} entry=${each} at=${i} />`)}
    </div>
    <${Figures} />
  </section>`;
}
