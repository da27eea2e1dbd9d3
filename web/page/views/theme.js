// The button for the colours.
import { choice, names, next } from '../theme.js';
import { html } from '../ui.js';

export function Theme() {
  return html`<button id="theme" type="button" class="quiet" aria-label=${`Colours: ${names[choice.value]}`}
    onClick=${next}>${names[choice.value]}</button>`;
}
