import t from 'tap'
import { singleFlight } from '../../src/resilience/single-flight.ts'

void t.test('concurrent calls for one key share one flight', async (t) => {
  const flights = singleFlight<string, number>()
  let calls = 0
  const work = async (): Promise<number> => {
    await Promise.resolve()
    calls += 1
    return calls
  }
  const [one, two, other] = await Promise.all([flights.run('a', work), flights.run('a', work), flights.run('b', work)])
  t.equal(one, two)
  t.not(one, other)
  t.equal(calls, 2)
  t.equal(await flights.run('a', work), 3, 'a later call starts a new flight')
})

void t.test('a flight is listed until its callers learn the result, even if it is a failure', async (t) => {
  const flights = singleFlight<string, never>()
  const flight = flights.run('a', async () => {
    await Promise.resolve()
    throw new Error('no luck')
  })
  t.equal(flights.current('a'), flight)
  t.equal(flights.current('b'), null)
  t.same(flights.all(), [flight])
  await t.rejects(flight, { message: 'no luck' })
  t.equal(flights.current('a'), null)
  t.same(flights.all(), [])
})
