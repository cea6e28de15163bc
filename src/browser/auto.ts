import { openChannel } from './channel.ts'
import { createFetch } from './fetch.ts'
import type { Gateway } from './gateway.ts'
import { createRenewal } from './renew.ts'
import { watchSession } from './watch.ts'
import { createXhr } from './xhr.ts'

const script = document.currentScript
const source = script instanceof HTMLScriptElement ? script.src : new URL('/oauth2/auto.js', location.href).href
const gateway: Gateway = { base: new URL('.', source).href.replace(/\/$/, ''), fetch: window.fetch.bind(window) }
const channel = openChannel()
const renewal = createRenewal(gateway, channel)
window.fetch = createFetch(gateway, renewal)
window.XMLHttpRequest = createXhr(gateway, renewal, window.XMLHttpRequest)
watchSession(gateway, channel, renewal)
