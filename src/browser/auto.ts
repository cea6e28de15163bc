import { start } from './start.ts'
import { createXhr } from './xhr.ts'

const script = document.currentScript
const { gateway, channel, renewal, fetch } = start(
  script instanceof HTMLScriptElement ? script.src : new URL('/oauth2/auto.js', location.href).href,
)
// A page may load this script twice.
if (window.fetch !== fetch) {
  window.fetch = fetch
  window.XMLHttpRequest = createXhr(gateway, channel, renewal, window.XMLHttpRequest)
}
