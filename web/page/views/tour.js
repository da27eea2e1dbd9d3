// The tour's card, and the frame around what it speaks of.
import { at, begin, end, next, steps, waiting } from '../tour.js';
import { html, useEffect, useRef } from '../ui.js';

export const TourButton = () => html`<button type="button" id="tour" class="quiet" onClick=${begin}>Show me around</button>`;

export function Tour() {
  const step = steps[at.value], card = useRef(null);
  useEffect(() => {
    const place = step && document.getElementById(step.at)?.closest('.card');
    place?.classList.add('toured');
    place?.scrollIntoView({ block: 'center', behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' });
    card.current?.focus({ preventScroll: true });
    return () => place?.classList.remove('toured');
  }, [at.value]);
  if (!step) return null;
  const last = at.value + 1 === steps.length;
  return html`<aside class="tour" id="tour-card" aria-label="Tour" tabindex="-1" ref=${card}
    onKeyDown=${({ key }) => { if (key === 'Escape') end(); }}>
    <h2>${step.title} <span class="muted">${at.value + 1} of ${steps.length}</span></h2>
    <p>${step.text}</p>
    <p class="buttons">${waiting.value ? html`<span class="muted">The next step comes when it moves.</span>`
      : html`<button type="button" id="tour-next" onClick=${next}>${last ? 'Done' : 'Next'}</button>`}
      ${!last && html`<button type="button" class="quiet" id="tour-end" onClick=${end}>Skip the tour</button>`}</p>
  </aside>`;
}
