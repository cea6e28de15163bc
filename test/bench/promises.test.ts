import t from 'tap'
import type { Figures, Measured } from '../../bench/figures.ts'
import { judgeHttp2 } from '../../bench/http2.ts'
import { judge } from '../../bench/promises.ts'

function measured(name: string, rounds: Partial<Figures>[]): Measured {
  const nothing: Figures = {
    requestsPerSecond: 0,
    p50: 0,
    p99: 0,
    singleP50: 0,
    addedP50: 0,
    steadyP50: 0,
    steadyP99: 0,
    cpuPerRequest: 0,
    gatewayCore: 0,
    memoryLoaded: 0,
  }
  return { name, rounds: rounds.map((figures) => ({ ...nothing, ...figures })), memoryIdle: [0], starts: [] }
}

const apache = measured('apache', [{ requestsPerSecond: 100 }, { requestsPerSecond: 200 }, { requestsPerSecond: 400 }])
const proxy = measured('http-proxy', [
  { requestsPerSecond: 100, addedP50: 100, steadyP99: 1000 },
  { requestsPerSecond: 200, addedP50: 200, steadyP99: 500 },
  { requestsPerSecond: 400, addedP50: 100, steadyP99: 2000 },
])

void t.test("a promise is judged by the median of the rounds' ratios, and its bound is inclusive", async (t) => {
  const gatehouse = measured('gatehouse', [
    { requestsPerSecond: 1000, addedP50: 130, steadyP99: 1000 },
    { requestsPerSecond: 320, addedP50: 1000, steadyP99: 10 },
    { requestsPerSecond: 460, addedP50: 10, steadyP99: 2001 },
  ])
  const redis = measured('gatehouse-redis', [
    { requestsPerSecond: 900 },
    { requestsPerSecond: 320 },
    { requestsPerSecond: 4 },
  ])
  const million = measured('gatehouse-million', [
    { requestsPerSecond: 900 },
    { requestsPerSecond: 3 },
    { requestsPerSecond: 460 },
  ])
  t.strictSame(
    judge([apache, proxy, gatehouse, redis, million]).map(({ measured, kept }) => [measured, kept]),
    [
      [1.6, true],
      [1.6, true],
      [1.3, true],
      [1, true],
      [0.9, true],
      [0.9, true],
    ],
  )
})

void t.test('each promise can be broken', async (t) => {
  const gatehouse = measured('gatehouse', [
    { requestsPerSecond: 119, addedP50: 131, steadyP99: 1001 },
    { requestsPerSecond: 238, addedP50: 262, steadyP99: 501 },
    { requestsPerSecond: 476, addedP50: 131, steadyP99: 2002 },
  ])
  const slow = [{ requestsPerSecond: 107 }, { requestsPerSecond: 214 }, { requestsPerSecond: 428 }]
  const all = [apache, proxy, gatehouse, measured('gatehouse-redis', slow), measured('gatehouse-million', slow)]
  t.strictSame(
    judge(all).map(({ kept }) => kept),
    [false, false, false, false, false, false],
  )
})

void t.test('a measurement that was left out neither breaks nor keeps a promise', async (t) => {
  t.strictSame(
    judge([apache, proxy]).map(({ kept }) => kept),
    [null, null, null, null, null, null],
  )
})

void t.test('the promises about HTTP/2 are judged by the medians of ratios, and each can be broken', async (t) => {
  const measure = (...[http1, one, four, nginx, grpc]: number[][]): Parameters<typeof judgeHttp2>[0] => [
    { title: 'HTTP/1.1, 32 connections', perSecond: http1 ?? [] },
    { title: 'HTTP/2, 1 connection with 32 streams', perSecond: one ?? [] },
    { title: 'HTTP/2, 4 connections with 8 streams', perSecond: four ?? [] },
    { title: 'gRPC through nginx', perSecond: nginx ?? [] },
    { title: 'gRPC through Gatehouse', perSecond: grpc ?? [] },
  ]
  const kept = measure([100, 200, 400], [80, 1, 400], [90, 160, 320], [100, 200, 400], [50, 100, 1])
  t.strictSame(
    judgeHttp2(kept, 59_999).map(({ measured, kept }) => [measured, kept]),
    [
      [0.8, true],
      [0.8, true],
      [0.5, true],
      [59.999, true],
    ],
  )
  const broken = measure([100, 200, 400], [79, 158, 400], [79, 158, 400], [100, 200, 400], [49, 98, 400])
  t.strictSame(
    judgeHttp2(broken, 60_000).map(({ kept }) => kept),
    [false, false, false, false],
  )
})
