// What is taken along: adapter, checkpoint, and what is brought back.
import { guard } from '../messages.js';
import { pickCheckpoint } from '../picking.js';
import { save } from '../runs.js';
import { busy, run } from '../state.js';
import { html } from '../ui.js';

export function Take() {
  const { id, state } = run.value;
  const there = !busy.value && (state === 'done' || state === 'paused');
  const offer = (kind) => guard('take', () => save(kind, id));
  return html`<section class="card" aria-labelledby="files-title">
    <h2 id="files-title">Take it with you</h2>
    <p class="muted">The adapter loads in Hugging Face PEFT and in <code>qlora-wgpu generate</code>. A checkpoint goes on in
      ${' '}<code>qlora-wgpu train --resume</code>, and one of the program’s goes on here.</p>
    <p class="buttons">
      <button type="button" id="save-checkpoint" disabled=${!there} onClick=${() => offer('checkpoint')}>Download a checkpoint</button>
      <button type="button" class="quiet" id="pick-checkpoint" disabled=${busy.value} onClick=${pickCheckpoint}>Bring one back…</button>
    </p>
  </section>`;
}
