import type { Grant, KoaContextWithOIDC } from 'oidc-provider'

/** The grant of this user to this client, made or widened to all that is asked for: nobody is asked to consent. */
export const grantEverything = async (
  { oidc }: KoaContextWithOIDC,
  resources: readonly string[],
): Promise<Grant | undefined> => {
  const clientId = oidc.client?.clientId
  const accountId = oidc.session?.accountId
  if (clientId === undefined || accountId === undefined) return undefined
  const grantId = oidc.session?.grantIdFor(clientId)
  const known = grantId === undefined ? undefined : await oidc.provider.Grant.find(grantId)
  // A grant of the user before this one stays with that user.
  const grant = known?.accountId === accountId ? known : new oidc.provider.Grant({ clientId, accountId })
  grant.addOIDCScope([...oidc.requestParamScopes].join(' '))
  grant.addOIDCClaims([...oidc.requestParamClaims])
  for (const resource of [...Object.keys(oidc.resourceServers ?? {}), ...resources]) {
    grant.addResourceScope(resource, [...oidc.requestParamScopes].join(' '))
  }
  await grant.save()
  return grant
}
