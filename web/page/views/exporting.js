// The adapter for other programs, and the model with it merged in.
import { download, format, isWriting, limit, ofAdapter, ofModel, planned, shown, tooLarge } from '../exporting.js';
import { bytes, sentence } from '../format.js';
import { model, opening } from '../state.js';
import { html } from '../ui.js';

const options = (all) => Object.entries(all).map(([value, text]) => html`<option value=${value}>${text}</option>`);

// Planned says what the file will be, and what is to be known of it.
function Planned({ name }) {
  if (!model.value) return html`<p class="hint">Open the run’s model under Model first.</p>`;
  const { found, error } = planned.value ?? {};
  if (error) return html`<p>${sentence(error.message)}</p>${error.hint && html`<p class="hint">${sentence(error.hint)}</p>`}`;
  if (!found) return html`<p class="muted">Looking at the model…</p>`;
  return html`<p><code>${found.name}</code>, ${bytes(found.size)}</p>
    ${found.warnings?.map((text) => html`<p class="hint">${sentence(text)}</p>`)}
    ${tooLarge(found) && html`<p>This browser keeps a file in memory until it is whole, and here at most ${limit}. Chrome and Edge write
      it straight to the disk; or download the adapter, and let the program make the file:</p>
      <pre tabindex="0">${`qlora-wgpu export --model ${name} --adapter adapter --type ${format.value} --output ${found.name}`}</pre>`}`;
}

export function Exporting({ name }) {
  const { done, total } = opening.value ?? {}, writing = isWriting(), found = planned.value?.found;
  const off = opening.value !== null || !model.value || !found || tooLarge(found);
  return html`<details id="export" open=${shown.value} onToggle=${({ target }) => { shown.value = target.open; }}>
    <summary>For llama.cpp, Ollama, LM Studio and MLX</summary>
    <div class="pick"><label for="export-format">Format</label>
      <select id="export-format" value=${format.value} disabled=${writing} onChange=${({ target }) => { format.value = target.value; }}>
        <optgroup label="The adapter alone">${options(ofAdapter)}</optgroup>
        <optgroup label="The model with the adapter merged in, as GGUF">${options(ofModel)}</optgroup>
      </select></div>
    <div id="export-plan" aria-live="polite"><${Planned} name=${name} /></div>
    ${writing && html`<progress id="export-progress" aria-label="Bytes written" max=${total} value=${done} />`}
    <p class="buttons">${writing
      ? html`<button type="button" id="export-cancel" key="cancel" onClick=${() => opening.value?.cancel()}>Cancel</button>`
      : html`<button type="button" id="export-save" key="save" disabled=${off} onClick=${() => download(found)}>Download</button>`}</p>
    ${ofModel[format.value] && html`<p class="hint">It is made of the model’s own weights, not of the 4 bits that training saw.
      ${' '}<code>qlora-wgpu export</code> writes the same file, and measures how its answers differ.</p>`}
  </details>`;
}
