// The whole page: what is in it, in the order in which it is read.
import { Messages } from '../messages.js';
import { dragged } from '../picking.js';
import { greeting } from '../state.js';
import { html } from '../ui.js';
import { Chat } from './chat.js';
import { Curve } from './curve.js';
import { Examples } from './examples.js';
import { ExplainCard } from './explain.js';
import { Gallery } from './gallery.js';
import { Mask } from './mask.js';
import { ModelCard } from './model.js';
import { Runs } from './runs.js';
import { Settings } from './settings.js';
import { Stage } from './stage.js';
import { Sticky } from './sticky.js';
import { Take } from './take.js';
import { Theme } from './theme.js';
import { Tour, TourButton } from './tour.js';

export function App() {
  const { adapter } = greeting.value ?? {};
  return html`
    <a class="skip" href="#stage">Skip to the training run</a>
    <header class="top">
      <p class="brand"><img src="icon.svg" alt="" width="26" height="26" /> qlora-wgpu</p>
      ${adapter && html`<p id="device" class="device">${adapter.name}${adapter.type === 'cpu' ? ' (software, slow)' : ''}</p>`}
      <${TourButton} />
      <${Theme} />
    </header>
    <main>
      <div class="intro">
        <h1>Teach a language model something new, here in this tab.</h1>
        <p class="lead">It stays frozen in 4 bits; a small adapter beside it learns from your examples, on this computer’s graphics
          hardware. Nothing leaves it.</p>
      </div>
      <${Gallery} />
      <div class="bench">
        <div class="column">
          <${Stage} />
          <${Messages} />
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
          <${Runs} />
        </div>
      </div>
    </main>
    <${Sticky} />
    <${Tour} />
    ${dragged.value && html`<div class="drop" aria-hidden="true"><p>Drop a model, examples, a checkpoint or an adapter</p></div>`}
    <footer><p>Made of a Go engine in WebAssembly and WGSL shaders. <a href="licences.txt">Licences</a></p></footer>`;
}
