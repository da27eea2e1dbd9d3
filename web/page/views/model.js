// The open model, and the ways to another.
import { count, many } from '../format.js';
import { downloadHub } from '../hub.js';
import { openDemo } from '../inputs.js';
import { busy, model, opening } from '../state.js';
import { html, signal } from '../ui.js';
import { pickModel } from '../picking.js';

const id = signal('');

export function ModelCard() {
  const info = model.value, off = busy.value;
  const facts = info ? [['Architecture', info.architecture.replace('ForCausalLM', '')], ['Parameters', many(info.parameters)],
    ['Layers', `${info.layers} of width ${info.hidden}`], ['Vocabulary', count(info.vocab)],
    ['Longest sequence', `${count(info.max_positions)} tokens`]] : [];
  const demo = info?.source.kind === 'demo';
  return html`<section class="card" aria-labelledby="model-title">
    <h2 id="model-title">Model</h2>
    <p id="model-name" class="name">${demo ? 'A tiny storyteller, embedded' : info?.name ?? '…'}</p>
    <dl id="model-facts" class="facts">${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
    <p class="buttons">
      <button type="button" class="quiet" id="pick-model" disabled=${off} onClick=${() => pickModel(false)}>GGUF file…</button>
      <button type="button" class="quiet" id="pick-folder" disabled=${off} onClick=${() => pickModel(true)}>Model folder…</button>
      ${info && !demo && html`<button type="button" class="quiet" id="embedded-model" disabled=${off}
        onClick=${() => openDemo()}>Use the embedded one</button>`}
    </p>
    <p class="hint">Or drop a GGUF file or a Hugging Face folder anywhere on this page.</p>
    <form id="hub" class="hub" onSubmit=${(event) => { event.preventDefault(); downloadHub(id.value); }}>
      <label for="hub-id">Or fetch one from Hugging Face</label>
      <div class="ask-line">
        <input id="hub-id" type="text" autocomplete="off" spellcheck="false" placeholder="owner/name" aria-describedby="hub-hint"
          disabled=${off || opening.value !== null} value=${id.value} onInput=${({ target }) => { id.value = target.value; }} />
        <button type="submit" class="quiet" id="hub-go" disabled=${off || opening.value !== null}>Download</button>
      </div>
      <span id="hub-hint" class="hint">Asks huggingface.co for it. Your examples stay here.</span>
    </form>
  </section>`;
}
