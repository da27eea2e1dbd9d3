// On a phone, what a run is at stays in sight: Pause, how far it is, and the newest answer.
import { percent } from '../pace.js';
import { pause } from '../run.js';
import { busy, questions, run } from '../state.js';
import { html } from '../ui.js';

export function Sticky() {
  if (!busy.value) return null;
  const newest = questions.value.filter(({ now, old }) => now && !old).sort((a, b) => b.step - a.step)[0];
  const ending = run.value.state === 'pausing' || run.value.state === 'stopping';
  return html`<div class="sticky" role="group" aria-label="The run">
    <span class="percent">${percent.value} %</span>
    <span class="newest" dir="auto">${newest?.now ?? ''}</span>
    <button type="button" disabled=${ending} onClick=${() => pause(false)}>Pause</button>
  </div>`;
}
