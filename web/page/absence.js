// What to say where the page cannot work, or not now.
const pages = {
  insecure: ['This address is not secure enough for WebGPU', [
    'Browsers offer WebGPU only on secure addresses.',
    ['Open the page at <code>http://localhost</code> or <code>http://127.0.0.1</code> on the computer that serves it.',
      'Or serve it over <code>https://</code>.'],
  ]],
  browser: ['This browser has no WebGPU', [
    'The training runs on the graphics hardware through WebGPU, which this browser does not offer.',
    ['Chrome and Edge have it from version 113 on, on Android from 121.',
      'Safari has it from version 26 on, Firefox from 141 on (Windows; 145 on Macs).',
      'In an older Firefox set <code>dom.webgpu.enabled</code> in <code>about:config</code>; in an older Safari switch it on under ' +
      'Settings, Feature Flags.'],
  ]],
  adapter: ['WebGPU found no graphics adapter', [
    'The browser has WebGPU, but offers no device that it could run on. It may have switched hardware acceleration off, or does not ' +
      'trust the graphics driver.',
    ['In Chrome or Edge, switch on “Use graphics acceleration” in Settings, System, and start the browser again. ' +
      '<code>chrome://gpu</code> says what is blocked.',
      'On Linux, set <code>chrome://flags/#enable-unsafe-webgpu</code> to Enabled; it works without a graphics card too, slowly. Chrome ' +
      'started with <code>--enable-unsafe-webgpu</code> is the same.', 'Update the graphics driver.'],
  ]],
  second: ['The page is open in another tab', [
    'Two tabs would train on the same saved run. This one goes on by itself as soon as the other is closed.',
  ]],
};

function show(kind) {
  const [title, parts] = pages[kind];
  const notice = document.getElementById('notice');
  notice.innerHTML = `<h2>${title}</h2>` +
    parts.map((part) => (Array.isArray(part) ? `<ul>${part.map((line) => `<li>${line}</li>`).join('')}</ul>` : `<p>${part}</p>`)).join('')
    + (kind === 'second' ? '' : '<p class="muted">The same training runs without a browser: <code>qlora-wgpu demo</code>.</p>');
  notice.dataset.kind = kind;
  notice.hidden = false;
}

// available shows what is missing, and tells whether the page can work.
export async function available() {
  if (!window.isSecureContext) return show('insecure'), false;
  if (!navigator.gpu) return show('browser'), false;
  if (!(await navigator.gpu.requestAdapter().catch(() => null))) return show('adapter'), false;
  return true;
}

// alone resolves when this is the only tab, and keeps it so until the page goes.
export function alone() {
  return new Promise((resolve) => {
    const hold = () => {
      document.getElementById('notice').hidden = true;
      resolve();
      return new Promise(() => {});
    };
    navigator.locks.request('qlora-wgpu', { ifAvailable: true }, (lock) => {
      if (lock) return hold();
      show('second');
      navigator.locks.request('qlora-wgpu', hold);
    });
  });
}
