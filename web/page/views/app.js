// The whole page: what is in it, in the order in which it is read.
import { dragged } from '../picking.js';
import { absent, greeting } from '../state.js';
import { html } from '../ui.js';
import { Chat } from './chat.js';
import { Curve } from './curve.js';
import { Examples } from './examples.js';
import { ExplainCard } from './explain.js';
import { Gallery } from './gallery.js';
import { Mask } from './mask.js';
import { ModelCard } from './model.js';
import { Notice } from './notice.js';
import { Runs } from './runs.js';
import { Settings } from './settings.js';
import { Share } from './share.js';
import { Stage } from './stage.js';
import { Sticky } from './sticky.js';
import { Take } from './take.js';
import { Theme } from './theme.js';
import { Tour, TourButton } from './tour.js';

// Bench is where a model is trained.
function Bench() {
  return html`<div class="bench">
    <div class="column">
      <${Stage} />
      <${Curve} />
      <${Chat} />
      <${Take} />
      <${Mask} />
      <${ExplainCard} />
    </div>
    <div class="column">
      <${ModelCard} />
      <${Examples} />
      <${Settings} />
      <${Share} />
      <${Runs} />
    </div>
  </div>`;
}

// Recordings is what remains of it without an engine.
function Recordings() {
  return html`<div class="bench">
    <div class="column"><${Stage} /></div>
    <div class="column"><${Curve} /></div>
  </div>`;
}

export function App() {
  const { adapter } = greeting.value ?? {}, elsewhere = absent.value === 'second' || absent.value === 'used';
  return html`
    <a class="skip" href="#stage">Skip to the training run</a>
    <header class="top">
      <p class="brand"><img src="icon.svg" alt="" width="26" height="26" /> qlora-wgpu</p>
      ${adapter && html`<p id="device" class="device">${adapter.name}${adapter.type === 'cpu' ? ' (software, slow)' : ''}</p>`}
      ${!absent.value && html`<${TourButton} />`}
      <${Theme} />
    </header>
    <main>
      <div class="intro">
        <h1>Teach a language model something new, here in this tab.</h1>
        <p class="lead">It stays frozen in 4 bits; a small adapter beside it learns from your examples, on this computer’s graphics
          hardware. Nothing leaves it.</p>
      </div>
      <${Notice} />
      ${!elsewhere && html`<${Gallery} />${absent.value ? html`<${Recordings} />` : html`<${Bench} />`}`}
    </main>
    <${Sticky} />
    <${Tour} />
    ${dragged.value && html`<div class="drop" aria-hidden="true"><p>Drop a model, examples, a checkpoint or an adapter</p></div>`}
    <footer><p>Made of a Go engine in WebAssembly and WGSL shaders. <a href="licences.txt">Licences</a></p></footer>`;
}
