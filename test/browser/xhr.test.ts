import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { html, startSite } from './site.ts'
import { arrive, endSessions } from './visit.ts'

const chromium = await openChromium(t)
const auto = '<script src="/oauth2/auto.js"></script>'
const site = await startSite(t, {
  '/libraries': html('', `${auto}<script src="/jquery.js"></script><script src="/axios.js"></script>`),
  '/refused': html('<button id="call">Call</button>', auto),
  '/htmx': html(
    '<button hx-post="/fragment" hx-target="#out" hx-vals=\'{"a":"b"}\'>Load</button><div id="out">as before</div>',
    `${auto}<script src="/htmx.js"></script>`,
  ),
  '/fragment': '<p id="fragment">A fragment</p>',
})
const config = { upstream: site.url, admin: { listen: '127.0.0.1:0', sessions: 'loopback' } }
const near = await startGateway(t, { config })
const { idp } = near
const port = await freePort()
/** On another site, so that the provider has no session in a frame. */
const far = await startGateway(t, { config, idp, port, publicUrl: `http://localhost:${port}` })

void t.test('handlers of an XMLHttpRequest see only the second response', async (t) => {
  const { page } = await arrive(t, chromium, `${near.url}/libraries`)
  const run = async (): Promise<Record<string, unknown>> =>
    page.evaluate(async () => {
      const listened = await new Promise<Record<string, unknown>>((resolve) => {
        const xhr = new XMLHttpRequest()
        const seen: string[] = []
        for (const name of [
          'loadstart',
          'readystatechange',
          'progress',
          'load',
          'loadend',
          'error',
          'abort',
          'timeout',
        ]) {
          for (const capture of [true, false]) {
            xhr.addEventListener(
              name,
              () => {
                seen.push(`${name} ${xhr.readyState > 1 ? xhr.status : ''}`)
              },
              capture,
            )
          }
        }
        xhr.onreadystatechange = () => {
          seen.push(`on ${xhr.readyState} ${xhr.readyState > 1 ? xhr.status : ''}`)
        }
        xhr.onload = () => {
          seen.push(`onload ${xhr.status}`)
        }
        xhr.onloadend = () => {
          resolve({
            seen: seen.filter((one) => !one.startsWith('progress')),
            body: JSON.parse(xhr.responseText).body,
            header: xhr.getResponseHeader('gatehouse'),
          })
        }
        xhr.open('POST', 'api/xhr')
        xhr.setRequestHeader('x-own', 'kept')
        xhr.send('Zoë')
      })
      return listened
    })
  const expected = await run()
  await endSessions(near)
  t.same(await run(), expected, 'the same events in the same order as without the end')
  t.match(expected, { body: 'Zoë', header: null })
  t.same(
    site.at('/api/xhr').map(({ headers }) => headers['x-own']),
    ['kept', 'kept'],
  )
})

void t.test('jQuery, axios and every response type see only the second response', async (t) => {
  const { page } = await arrive(t, chromium, `${near.url}/libraries`)
  const ways = ['jquery', 'axios', 'json', 'blob', 'arraybuffer']
  for (const way of ways) {
    await endSessions(near)
    t.same(
      await page.evaluate(async (way) => {
        const { $, axios } = window as unknown as {
          $: { post: (url: string, data: unknown) => Promise<{ body: string }> }
          axios: { put: (url: string, data: unknown) => Promise<{ status: number; data: { body: string } }> }
        }
        if (way === 'jquery') return (await $.post('/api/way', { a: 'b' })).body
        if (way === 'axios') return (await axios.put('/api/way', { a: 'b' })).data.body
        return new Promise((resolve) => {
          const xhr = new XMLHttpRequest()
          xhr.responseType = way as XMLHttpRequestResponseType
          xhr.onload = () => {
            if (way === 'json') resolve(xhr.response.body)
            else
              void new Response(xhr.response).json().then((answer: { body: string }) => {
                resolve(answer.body)
              })
          }
          xhr.open('POST', '/api/way')
          xhr.send('a=b')
        })
      }, way),
      way === 'axios' ? '{"a":"b"}' : 'a=b',
      way,
    )
  }
})

void t.test('the handlers get the 401 if the user does not sign in', async (t) => {
  const { page, context } = await arrive(t, chromium, `${far.url}/refused`, { atProvider: false })
  await endSessions(far)
  await page.evaluate(() => {
    document.getElementById('call')?.addEventListener('click', () => {
      const xhr = new XMLHttpRequest()
      xhr.onload = () => {
        document.title = `${xhr.readyState} ${xhr.status} ${xhr.getResponseHeader('gatehouse') ?? ''}`
      }
      xhr.open('GET', '/api/refused')
      xhr.send()
    })
  })
  const opened = context.waitForEvent('page')
  await page.getByRole('button', { name: 'Call' }).click()
  const window = await opened
  await window.getByRole('button', { name: 'Sign in as alice' }).waitFor()
  // One that closes at once was blocked.
  await page.waitForTimeout(1_500)
  await window.close()
  await page.waitForFunction(() => document.title.startsWith('4 401 '))
  t.pass('as if there were no script')
})

/** What the libraries' own listeners are called with, in their order. */
type Libraries = {
  $: {
    ajax: (settings: object) => { done: (f: () => void) => unknown }
    ajaxSetup: (settings: object) => void
  }
  axios: {
    interceptors: {
      response: {
        use: (
          ok: (answer: { status: number }) => unknown,
          no: (error: { response?: { status: number } }) => unknown,
        ) => void
      }
    }
    post: (url: string, data: unknown, config: object) => Promise<{ status: number; data: { body: string } }>
  }
}

void t.test('jQuery’s callbacks and axios’ interceptors run once, in order, with the second response', async (t) => {
  const { page } = await arrive(t, chromium, `${near.url}/libraries`)
  const run = async (): Promise<unknown> =>
    page.evaluate(async () => {
      const { $, axios } = window as unknown as Libraries
      const seen: string[] = []
      const note = (name: string) => () => {
        seen.push(name)
      }
      await new Promise<void>((resolve) => {
        $.ajax({
          url: '/api/order',
          method: 'POST',
          data: { a: 'b' },
          beforeSend: note('beforeSend'),
          success: note('success'),
          error: note('error'),
          statusCode: { 200: note('200'), 401: note('401') },
          complete: () => {
            seen.push('complete')
            resolve()
          },
        }).done(note('done'))
      })
      axios.interceptors.response.use(
        (answer) => {
          seen.push(`interceptor ${answer.status}`)
          return answer
        },
        (error) => {
          seen.push(`refused ${error.response?.status ?? ''}`)
          throw error
        },
      )
      for (const adapter of ['xhr', 'fetch']) {
        const { status, data } = await axios.post('/api/order', { a: 'b' }, { adapter })
        seen.push(`${adapter} ${status} ${data.body}`)
        await fetch('/oauth2/session')
      }
      return seen
    })
  const expected = await run()
  const calls = ['interceptor 200', 'xhr 200 {"a":"b"}', 'interceptor 200', 'fetch 200 {"a":"b"}']
  t.same(expected, ['beforeSend', 'success', 'done', '200', 'complete', ...calls])
  await page.reload()
  await endSessions(near)
  t.same(await run(), expected)
})

void t.test('htmx swaps in the second response, and the page stays', async (t) => {
  const { page } = await arrive(t, chromium, `${near.url}/htmx`)
  await page.evaluate(() => {
    document.body.dataset['mark'] = 'here'
  })
  await endSessions(near)
  await page.getByRole('button', { name: 'Load' }).click()
  await page.locator('#fragment').waitFor()
  t.equal(await page.evaluate(() => document.body.dataset['mark']), 'here')
  t.same(
    site.at('/fragment').map(({ method, body }) => [method, body]),
    [['POST', 'a=b']],
  )
})

void t.test('an upload with progress listeners is repeated whole, with the page’s settings', async (t) => {
  const { page } = await arrive(t, chromium, `${near.url}/libraries`)
  await endSessions(near)
  const seen = await page.evaluate(
    async () =>
      new Promise<Record<string, unknown>>((resolve) => {
        const xhr = new XMLHttpRequest()
        let uploaded = 0
        xhr.upload.onprogress = ({ loaded }) => {
          uploaded = loaded
        }
        xhr.open('POST', '/api/upload')
        xhr.timeout = 15_000
        xhr.withCredentials = true
        xhr.overrideMimeType('text/plain; charset=x-user-defined')
        xhr.onload = () => {
          const { timeout, withCredentials } = xhr
          resolve({
            uploaded,
            timeout,
            withCredentials,
            status: xhr.status,
            length: (JSON.parse(xhr.responseText) as { body: string }).body.length,
          })
        }
        xhr.send('ü'.repeat(500_000))
      }),
  )
  // The response repeats 500,000 characters of two bytes; read as this charset each byte is one.
  t.same(seen, { uploaded: 1_000_000, timeout: 15_000, withCredentials: true, status: 200, length: 1_000_000 })
})

void t.test('changing a body after send() does not change the request', async (t) => {
  const { page } = await arrive(t, chromium, `${near.url}/libraries`)
  for (const kind of ['form', 'parameters', 'bytes']) {
    await endSessions(near)
    t.match(
      await page.evaluate(
        async (kind) =>
          new Promise<string>((resolve) => {
            const form = new FormData()
            form.append('note', 'as sent')
            form.append('file', new File(['as sent'], 'a.txt'))
            const parameters = new URLSearchParams({ note: 'as sent' })
            const bytes = new TextEncoder().encode('as sent')
            const xhr = new XMLHttpRequest()
            xhr.onload = () => {
              resolve(`${xhr.status} ${(JSON.parse(xhr.responseText) as { body: string }).body}`)
            }
            xhr.open('POST', '/api/changed')
            xhr.send(kind === 'form' ? form : kind === 'parameters' ? parameters : bytes)
            form.set('note', 'changed')
            form.delete('file')
            parameters.set('note', 'changed')
            bytes.fill(32)
          }),
        kind,
      ),
      kind === 'form'
        ? /^200 [^]*as sent[^]*filename="a.txt"[^]*as sent/
        : kind === 'bytes'
          ? '200 as sent'
          : '200 note=as+sent',
    )
  }
})

void t.test('a reused XMLHttpRequest starts over each time, even inside its own handler', async (t) => {
  const { page } = await arrive(t, chromium, `${near.url}/libraries`)
  const run = async (): Promise<unknown> =>
    page.evaluate(
      async () =>
        new Promise((resolve) => {
          const seen: string[] = []
          const xhr = new XMLHttpRequest()
          xhr.onload = () => {
            seen.push(`${xhr.status} ${xhr.responseURL.split('/').at(-1) ?? ''}`)
            if (seen.length === 3) resolve(seen)
            else {
              xhr.open('POST', `/api/again-${seen.length}`)
              xhr.send('x')
            }
          }
          xhr.open('POST', '/api/never')
          xhr.send('x')
          xhr.open('POST', '/api/again-0')
          xhr.send('x')
        }),
    )
  const expected = ['200 again-0', '200 again-1', '200 again-2']
  t.same(await run(), expected)
  await endSessions(near)
  t.same(await run(), expected)
})

void t.test('the timeout of an XMLHttpRequest excludes the login and applies to the repeated request', async (t) => {
  const { page } = await arrive(t, chromium, `${near.url}/libraries`)
  await endSessions(near)
  idp.fail('authorization', { delay: 1_500, times: 1 })
  t.same(
    await page.evaluate(
      async () =>
        new Promise((resolve) => {
          const xhr = new XMLHttpRequest()
          const seen: string[] = []
          for (const name of ['timeout', 'load', 'loadend'])
            xhr.addEventListener(name, () => {
              seen.push(name)
            })
          xhr.onloadend = () => {
            resolve([...seen, xhr.status])
          }
          xhr.open('GET', '/api/timed')
          xhr.timeout = 1_000
          xhr.send()
        }),
    ),
    ['load', 'loadend', 200],
  )
})

void t.test('a synchronous XMLHttpRequest is left alone, however it is opened', async (t) => {
  const { page } = await arrive(t, chromium, `${near.url}/libraries`)
  await endSessions(near)
  const begun = idp.requests.authorization
  t.same(
    await page.evaluate(() =>
      [false, 0, null, undefined].map((isAsync) => {
        const xhr = new XMLHttpRequest()
        xhr.open('POST', '/api/waiting', isAsync as boolean)
        xhr.send('x')
        return [xhr.status, xhr.getResponseHeader('gatehouse') !== null]
      }),
    ),
    [
      [401, true],
      [401, true],
      [401, true],
      [401, true],
    ],
  )
  t.equal(idp.requests.authorization, begun)
})
