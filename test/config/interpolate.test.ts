import t from 'tap'
import { interpolate, type Sources } from '../../src/config/interpolate.ts'

const sources: Sources = {
  env: {
    NAME: 'value',
    EMPTY: '',
    LINE: 'value\r\n\n',
    BLANK: '\n',
    TRICK: '${NAME} $${ ${file:/secret}',
    YAML: '[a, b]',
  },
  readText: (path) => (path === '/secret' ? { text: 'hidden ${NAME}\r\n\n' } : { reason: 'no such file' }),
}

const filled: [string, string][] = [
  ['plain', 'plain'],
  ['$NAME and $(NAME)', '$NAME and $(NAME)'],
  ['${NAME}', 'value'],
  ['a-${NAME}-${NAME}', 'a-value-value'],
  ['${EMPTY}', ''],
  ['${NONE:-other}', 'other'],
  ['${EMPTY:-other}', 'other'],
  ['${NAME:-other}', 'value'],
  ['${LINE}', 'value'],
  ['a-${LINE}-b', 'a-value-b'],
  ['${BLANK:-other}', 'other'],
  ['${NONE:-}', ''],
  ['${NONE:-a:-b}', 'a:-b'],
  ['${TRICK}', '${NAME} $${ ${file:/secret}'],
  ['${YAML}', '[a, b]'],
  ['${file:/secret}', 'hidden ${NAME}'],
  ['$${NAME}', '${NAME}'],
  ['$$${NAME}', '$${NAME}'],
  ['{claims.email}', '{claims.email}'],
]

for (const [text, expected] of filled) t.same(interpolate(text, sources), { text: expected }, text)

const refused: [string, RegExp][] = [
  ['${NONE}', /environment variable NONE, which is not set/],
  ['${toString}', /environment variable toString, which is not set/],
  ['${}', /has "\$\{\}"/],
  ['${a b}', /has "\$\{a b\}"/],
  ['${NAME', /has a \$\{ without its \}/],
  ['${A:-${NAME}}', /within another/],
  ['${file:}', /has "\$\{file:\}"/],
  ['${file:/nowhere}', /names the file \/nowhere: no such file/],
]

for (const [text, message] of refused) {
  const outcome = interpolate(text, sources)
  t.ok(
    'problems' in outcome && outcome.problems.length === 1 && message.test(outcome.problems[0]?.message ?? ''),
    `${text} is refused`,
  )
}

await t.test('every missing variable of a text is reported', async (t) => {
  const outcome = interpolate('${A}${B}', sources)
  t.equal('problems' in outcome ? outcome.problems.length : 0, 2)
})
