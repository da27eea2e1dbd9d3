// The row of subjects.
import { choose, gallery } from '../gallery.js';
import { busy, subject } from '../state.js';
import { html } from '../ui.js';

export function Gallery() {
  return html`<section class="gallery" aria-label="Subjects">${gallery.value.map((entry) => html`
    <button type="button" key=${entry.id} id=${`subject-${entry.id}`} class="subject" aria-pressed=${String(subject.value?.id === entry.id)}
      disabled=${busy.value} onClick=${() => choose(entry)}><b>${entry.title}</b><small>${entry.says}</small></button>`)}
  </section>`;
}
