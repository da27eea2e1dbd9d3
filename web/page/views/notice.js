// What to say where the page cannot work, or not now.
import { absent } from '../state.js';
import { takeNow, turn, useHere } from '../tabs.js';
import { html, useEffect, useRef, useState } from '../ui.js';

const code = (text) => html`<code>${text}</code>`;

const pages = {
  insecure: () => ['This address is not secure enough for WebGPU', html`
    <p>Browsers offer WebGPU only on secure addresses.</p>
    <ul><li>Open the page at ${code('http://localhost')} or ${code('http://127.0.0.1')} on the computer that serves it.</li>
      <li>Or serve it over ${code('https://')}.</li></ul>`],
  browser: () => ['This browser has no WebGPU', html`
    <p>The training runs on the graphics hardware through WebGPU, which this browser does not offer.</p>
    <ul><li>Chrome and Edge have it from version 113 on, on Android from 121.</li>
      <li>Safari has it from version 26 on, Firefox from 141 on (Windows; 145 on Macs).</li>
      <li>In an older Firefox set ${code('dom.webgpu.enabled')} in ${code('about:config')}; in an older Safari switch it on under Settings,
        Feature Flags.</li></ul>`],
  adapter: () => ['WebGPU found no graphics adapter', html`
    <p>The browser has WebGPU, but offers no device that it could run on. It may have switched hardware acceleration off, or does not
      trust the graphics driver.</p>
    <ul><li>In Chrome or Edge, switch on “Use graphics acceleration” in Settings, System, and start the browser again.
        ${' '}${code('chrome://gpu')} says what is blocked.</li>
      <li>On Linux, set ${code('chrome://flags/#enable-unsafe-webgpu')} to Enabled; it works without a graphics card too, slowly. Chrome
        started with ${code('--enable-unsafe-webgpu')} is the same.</li>
      <li>Update the graphics driver.</li></ul>`],
  second: () => ['The page is open in another tab', html`<p>Two tabs would train on the same saved runs. This one goes on by itself as soon
    as the other is closed.</p><${Here} />`],
  used: () => ['The page is used in another tab', html`<p>Another tab has taken over. What was going on here is saved, and goes on
    there.</p><${Here} />`],
};

// Here takes the page over from the other tab.
function Here() {
  const [long, setLong] = useState(false);
  useEffect(() => {
    setLong(false);
    if (turn.value !== 'coming') return undefined;
    const timer = setTimeout(() => setLong(true), 15e3);
    return () => clearTimeout(timer);
  }, [turn.value]);
  const says = { asked: 'Asking the other tab…', coming: 'The other tab finishes its step and saves…' }[turn.value];
  return html`<p class="buttons"><button type="button" class="primary" id="use-here" aria-disabled=${String(turn.value !== '')}
      onClick=${useHere}>Use it here</button>
    ${long && html`<button type="button" id="take-now" onClick=${takeNow}>Do not wait: lose what it has not saved</button>`}</p>
    <p role="status" class="muted">${says}</p>`;
}

export function Notice() {
  const kind = absent.value, place = useRef(null);
  const elsewhere = kind === 'second' || kind === 'used';
  useEffect(() => { if (kind === 'used') place.current.focus(); }, [kind]);
  const [title, text] = pages[kind]?.() ?? [];
  return html`<section id="notice" class="notice" tabindex="-1" ref=${place} hidden=${!kind} data-kind=${kind}
    aria-labelledby="notice-title">
    <h2 id="notice-title">${title}</h2>${text}
    ${kind && !elsewhere && html`<p>Below, recordings show what it does. The same training runs without a browser:
      ${' '}<code>qlora-wgpu demo</code>.</p>`}
  </section>`;
}
