import { createSecretKey, randomBytes } from 'node:crypto'
import t from 'tap'
import { deriveKey, newDataKey, open, seal, toKey } from '../../src/session/envelope.ts'

const key = toKey(randomBytes(32))

void t.test('sealed text opens again, even if it is empty, long or not ASCII', async (t) => {
  for (const text of ['', 'x', 'Zoë 🦊', 'a'.repeat(100_000)]) t.equal(open(key, 'id', seal(key, 'id', text)), text)
})

void t.test('the same text is sealed differently each time, and never appears in the result', async (t) => {
  const [one, two] = [seal(key, 'id', 'a secret text'), seal(key, 'id', 'a secret text')]
  t.notOk(one.equals(two))
  t.notOk(one.includes('secret'))
})

void t.test('another key or other associated data opens nothing', async (t) => {
  const sealed = seal(key, 'id', 'text')
  t.equal(open(toKey(randomBytes(32)), 'id', sealed), null)
  t.equal(open(key, 'another', sealed), null)
  t.equal(open(key, '', sealed), null)
})

void t.test('sealed text with a flipped bit or a missing end does not open', async (t) => {
  const sealed = seal(key, 'id', 'text')
  for (let bit = 0; bit < sealed.length * 8; bit += 1) {
    const changed = Buffer.from(sealed)
    changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    if (open(key, 'id', changed) !== null) t.fail(`bit ${bit}`)
  }
  for (let length = 0; length < sealed.length; length += 1) {
    if (open(key, 'id', sealed.subarray(0, length)) !== null) t.fail(`length ${length}`)
  }
  t.equal(open(key, 'id', Buffer.concat([sealed, Buffer.of(0)])), null)
})

void t.test('derived keys differ by purpose and by source key', async (t) => {
  const raw = randomBytes(32)
  t.ok(deriveKey(raw, 'one').equals(deriveKey(raw, 'one')))
  t.notOk(deriveKey(raw, 'one').equals(deriveKey(raw, 'two')))
  t.notOk(deriveKey(raw, 'one').equals(deriveKey(randomBytes(32), 'one')))
  t.notOk(deriveKey(raw, 'one').equals(createSecretKey(raw)))
})

void t.test('a data key is 32 bytes, base64url', async (t) => {
  t.equal(Buffer.from(newDataKey(), 'base64url').length, 32)
  t.not(newDataKey(), newDataKey())
})
