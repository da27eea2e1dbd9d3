// What is taken along: a checkpoint, files for other programs, the lines that use the adapter elsewhere, and what is
// brought back.
import { guard, tell } from '../messages.js';
import { pickCheckpoint } from '../picking.js';
import { save } from '../runs.js';
import { busy, model, run } from '../state.js';
import { html } from '../ui.js';
import { Exporting } from './exporting.js';

// named is the open model on a command line.
function named() {
  const { kind, id } = model.value?.source ?? {};
  return kind === 'demo' ? 'out-demo/model' : kind === 'hub' ? id.split('/').at(-1) : model.value?.name ?? 'MODEL';
}

// lines are for the open model and this adapter.
function lines() {
  const { kind, id } = model.value?.source ?? {}, name = named();
  const hub = kind === 'hub' ? id : name;
  return {
    'With the program': `${kind === 'demo' ? '# qlora-wgpu demo has written the embedded model to out-demo/model\n' : ''}` +
      `unzip adapter.zip\nqlora-wgpu generate --model ${quoted(name)} --adapter adapter --prompt "..."`,
    'With Python': `from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n` +
      `model = AutoModelForCausalLM.from_pretrained(${JSON.stringify(hub)})\n` +
      `model = PeftModel.from_pretrained(model, "adapter")\ntokenizer = AutoTokenizer.from_pretrained(${JSON.stringify(hub)})`,
  };
}

const quoted = (name) => (/^[\w./-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`);

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell('copy', { kind: 'note', text: 'Copied' });
  } catch {
    tell('copy', { kind: 'warning', text: 'The browser does not let the page copy: mark the lines and copy them yourself' });
  }
}

export function Take() {
  const { id, state, steps } = run.value;
  const there = !busy.value && (state === 'done' || state === 'paused');
  return html`<section class="card" aria-labelledby="files-title">
    <h2 id="files-title">Take it with you</h2>
    <p class="muted">The adapter is a few files that Hugging Face PEFT and the program read. A checkpoint goes on in
      ${' '}<code>qlora-wgpu train --resume</code>, and one of the program’s goes on here, as does an adapter of PEFT’s.</p>
    <p class="buttons">
      <button type="button" id="save-checkpoint" disabled=${!there || !steps}
        onClick=${() => guard('take', () => save('checkpoint', id))}>Download a checkpoint</button>
      <button type="button" class="quiet" id="pick-checkpoint" disabled=${busy.value} onClick=${pickCheckpoint}>Bring one back…</button>
    </p>
    ${there && html`<${Exporting} name=${quoted(named())} />`}
    ${there && Object.entries(lines()).map(([name, text]) => html`<details key=${name}><summary>${name}</summary>
      <pre tabindex="0">${text}</pre><button type="button" class="quiet" onClick=${() => copy(text)}>Copy</button></details>`)}
  </section>`;
}
