// The row of subjects, and what the model can make of the chosen one.
import { choose, gallery } from '../gallery.js';
import { absent, busy, subject } from '../state.js';
import { html, useEffect, useRef } from '../ui.js';

export function Gallery() {
  const entries = gallery.value.filter(({ record }) => record || !absent.value); // without an engine there is only what is recorded
  const chosen = entries.find(({ id }) => id === subject.value?.id);
  const row = useRef(null);
  // on a phone the row is wider than the screen, and a link may have chosen one that is out of sight
  useEffect(() => {
    const card = row.current.querySelector('[aria-pressed=true]');
    if (card) row.current.scrollTo({ left: card.offsetLeft - row.current.offsetLeft - (row.current.clientWidth - card.offsetWidth) / 2 });
  }, [chosen?.id]);
  return html`<section class="subjects" aria-label="Subjects">
    <div class="gallery" ref=${row} role="group" aria-label="Choose what it learns"
      tabindex=${busy.value ? 0 : undefined}>${entries.map((entry) => html`
      <button type="button" key=${entry.id} id=${`subject-${entry.id}`} class="subject" aria-pressed=${String(chosen === entry)}
        disabled=${busy.value} onClick=${() => choose(entry)}><b>${entry.title}</b><small>${entry.says}</small></button>`)}</div>
    <p id="can" class="can muted" aria-live="polite">${chosen?.can}</p>
  </section>`;
}
