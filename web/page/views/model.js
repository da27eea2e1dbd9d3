// The open model, and the ways to another.
import { bytes, count, many } from '../format.js';
import { isOpen, openFromHub, openRecord, suggested } from '../hub.js';
import { clearKept, keptModels, refreshKept } from '../hubcache.js';
import { openDemo } from '../inputs.js';
import { busy, model, opening } from '../state.js';
import { html, signal, useEffect } from '../ui.js';
import { pickModel } from '../picking.js';

const id = signal('');

// A double click on Download must not press the Cancel that takes its place.
const single = (act) => (event) => { if (event.detail < 2) act(); };

function Suggested({ off }) {
  const kept = (name) => keptModels.value.some((each) => !each.part && each.id === name);
  return html`<ul class="chips" aria-label="Models that fit a tab">${suggested.map(({ id: name, label, size }) => html`<li key=${name}>
    <button type="button" class="quiet chip" disabled=${off} title=${name} onClick=${() => { id.value = name; openFromHub(name); }}>${label}
      ${' '}<small>${kept(name) ? 'kept' : `${(size / 1e6).toFixed(0)} MB`}</small></button></li>`)}</ul>`;
}

// Kept lists what this browser keeps, to be opened without the network or cleared.
function Kept({ off }) {
  if (!keptModels.value.length) return null;
  const clear = async (record) => {
    await clearKept(record);
    (document.querySelector('#hub-kept button:not(:disabled)') ?? document.getElementById('hub-id')).focus();
  };
  return html`<h3 id="kept-title">Kept in this browser</h3>
    <ul id="hub-kept" class="kept" aria-labelledby="kept-title">${keptModels.value.map((record) => html`
      <li key=${`${record.id}@${record.sha}`}><span><span class="name">${record.id}</span>
      ${' '}<span class="muted">${bytes(record.size)}${record.part ? ', a part' : ''}, ${record.sha.slice(0, 7)}</span></span>
      <span class="buttons">
        ${record.part ? html`<button type="button" class="quiet" disabled=${off} aria-label=${`Fetch the rest of ${record.id}`}
          onClick=${() => openFromHub(`${record.id}@${record.sha}`)}>Fetch the rest</button>`
          : !isOpen(record) && html`<button type="button" class="quiet" disabled=${off} aria-label=${`Open ${record.id}`}
            onClick=${() => openRecord(record)}>Open</button>`}
        <button type="button" class="quiet" disabled=${off} aria-label=${`Clear ${record.id}`} onClick=${() => clear(record)}>Clear</button>
      </span></li>`)}</ul>`;
}

function Hub({ off }) {
  useEffect(() => { refreshKept(); }, []);
  const fetching = opening.value?.what === 'hub', closed = off || opening.value !== null;
  const submit = (event) => {
    event.preventDefault();
    openFromHub(id.value);
  };
  return html`<form id="hub" class="hub" onSubmit=${submit}>
      <label for="hub-id">Or fetch one from Hugging Face</label>
      <div class="ask-line">
        <input id="hub-id" type="text" autocomplete="off" autocapitalize="off" spellcheck="false" placeholder="owner/name or link"
          aria-describedby="hub-hint" readonly=${fetching} disabled=${closed && !fetching} value=${id.value}
          onInput=${({ target }) => { id.value = target.value; }} />
        ${fetching ? html`<button type="button" class="quiet" id="hub-go" key="go"
          onClick=${single(() => opening.value?.cancel())}>Cancel</button>`
          : html`<button type="submit" class="quiet" id="hub-go" key="go" disabled=${closed}>Download</button>`}
      </div>
      ${fetching && html`<progress aria-label="Bytes of the model" max=${opening.value.total || undefined} value=${opening.value.done} />`}
      <${Suggested} off=${closed} />
      <span id="hub-hint" class="hint">Asks huggingface.co for it, and keeps it in this browser. Your examples stay here. Small models of
        the Llama, Qwen, Mistral, Gemma, Phi, SmolLM, Granite and OLMo families fit.</span>
    </form>
    <${Kept} off=${closed} />`;
}

export function ModelCard() {
  const info = model.value, off = busy.value;
  const facts = info ? [['Architecture', info.architecture.replace('ForCausalLM', '')], ['Parameters', many(info.parameters)],
    ['Layers', `${info.layers} of width ${info.hidden}`], ['Vocabulary', count(info.vocab)],
    ['Longest sequence', `${count(info.max_positions)} tokens`], ...(info.special ? [['Beyond a Llama', info.special]] : [])] : [];
  const demo = info?.source.kind === 'demo';
  return html`<section class="card" aria-labelledby="model-title">
    <h2 id="model-title">Model</h2>
    <p id="model-name" class="name">${demo ? 'A tiny storyteller, embedded' : info?.name ?? '…'}</p>
    <dl id="model-facts" class="facts">${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
    <p class="buttons">
      <button type="button" class="quiet" id="pick-model" disabled=${off} onClick=${() => pickModel(false)}>GGUF file…</button>
      <button type="button" class="quiet" id="pick-folder" disabled=${off} onClick=${() => pickModel(true)}>Model folder…</button>
      ${!demo && html`<button type="button" class="quiet" id="embedded-model" disabled=${off}
        onClick=${() => openDemo()}>Use the embedded one</button>`}
    </p>
    <p class="hint">Or drop a GGUF file or a Hugging Face folder anywhere on this page.</p>
    <${Hub} off=${off} />
  </section>`;
}
