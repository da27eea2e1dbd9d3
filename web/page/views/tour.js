// The tour's card, and the frame around what it speaks of.
import { at, begin, end, next, steps, waiting } from '../tour.js';
import { html, useEffect, useRef } from '../ui.js';

export const TourButton = () => html`<button type="button" id="tour" class="quiet" onClick=${begin}>Show me around</button>`;

function close() {
  end();
  document.getElementById('tour')?.focus({ preventScroll: true });
}

export function Tour() {
  const step = steps[at.value], card = useRef(null);
  useEffect(() => {
    const place = step && document.getElementById(step.at)?.closest('.card');
    place?.classList.add('toured');
    place?.scrollIntoView({ block: 'center', behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' });
    return () => place?.classList.remove('toured');
  }, [at.value]);
  // also where the button that was pressed has gone
  useEffect(() => { card.current?.focus({ preventScroll: true }); }, [at.value, waiting.value]);
  if (!step) return null;
  const last = at.value + 1 === steps.length;
  return html`<aside class="tour" id="tour-card" aria-label="Tour" tabindex="-1" ref=${card}
    onKeyDown=${({ key }) => { if (key === 'Escape') close(); }}>
    <h2>${step.title} <span class="muted">${at.value + 1} of ${steps.length}</span></h2>
    <p>${step.text}</p>
    <p class="buttons">${waiting.value ? html`<span class="muted">The next step comes when it moves.</span>`
      : html`<button type="button" id="tour-next" onClick=${last ? close : next}>${last ? 'Done' : 'Next'}</button>`}
      ${!last && html`<button type="button" class="quiet" id="tour-end" onClick=${close}>Skip the tour</button>`}</p>
  </aside>`;
}
