import type { Rule } from '../../src/gate/rules.ts'
import type { AccessRule } from '../../src/migrate/condition.ts'

/** Returns a written rule with the default values of its other keys. */
export const asRule = ({ claims = {}, networks = [], any, not }: AccessRule): Rule => ({
  claims,
  networks: networks.length === 0 ? null : networks,
  any: any?.map(asRule) ?? null,
  not: not === undefined ? null : asRule(not),
})
