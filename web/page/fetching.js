// Files that lie beside the page, fetched with their progress.
import { sizes } from './sizes.js';
import { arriving } from './state.js';

const failed = (name, reason) => Object.assign(new Error(`${name} did not arrive (${reason}).`),
  { hint: 'check the connection, and try again' });

// counted gives a response whose bytes are counted as they come. A length header tells of compressed bytes.
export function counted(response, name, told) {
  let done = 0;
  const total = sizes[name] ?? 0;
  const body = response.body.pipeThrough(new TransformStream({ transform(chunk, out) {
    done += chunk.length;
    told(done, Math.max(total, done));
    out.enqueue(chunk);
  } }));
  return new Response(body, { headers: { 'content-type': response.headers.get('content-type') ?? '' } });
}

// fetchFile gives a file of the page as a File. Errors have a way out.
export async function fetchFile(name) {
  const tell = (done, total) => { arriving.value = { ...arriving.value, [name]: [done, total] }; };
  tell(0, sizes[name] ?? 0);
  try {
    const response = await fetch(name).catch((error) => { throw failed(name, error.message); });
    if (!response.ok) throw failed(name, `status ${response.status}`);
    const blob = await counted(response, name, tell).blob().catch((error) => { throw failed(name, error.message); });
    return new File([blob], name.split('/').at(-1));
  } finally {
    const { [name]: _, ...rest } = arriving.value;
    arriving.value = rest;
  }
}
