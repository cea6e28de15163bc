import { readFileSync } from 'node:fs'
import type axe from 'axe-core'
import type { Page } from 'playwright-core'

const checker = readFileSync(new URL('../../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8')

/** What axe-core finds serious or critical in a page as it is shown now, its frames included. */
export const violations = async (page: Page): Promise<string[]> => {
  for (const frame of page.frames()) await frame.evaluate(checker)
  const { violations } = await page.evaluate(async () => (window as unknown as { axe: typeof axe }).axe.run())
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes[0]?.html ?? ''}`)
}

/** Each look that a page can have: light and dark, on a desk and on a phone. */
export const looks = (['light', 'dark'] as const).flatMap((colorScheme) => [
  { colorScheme, width: 1000, height: 700 },
  { colorScheme, width: 320, height: 568 },
])
