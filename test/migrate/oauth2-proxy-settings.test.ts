import t from 'tap'
import { alphaRules, withOlderNames } from '../../src/migrate/oauth2-proxy/alpha-config.ts'
import { keyOfFlag, keyOfVariable, oauth2Proxy } from '../../src/migrate/oauth2-proxy/keys.ts'
import { migrateFiles } from '../../src/migrate/migrate.ts'
import { writeReport, writeYaml } from '../../src/migrate/write.ts'

/** Every flag of oauth2-proxy 7.15. */
const flags = `
  acr-values allow-query-semicolons allowed-group allowed-role api-route approval-prompt auth-logging
  auth-logging-format auth-request-response-mode authenticated-emails-file azure-graph-group-field azure-tenant
  backend-logout-url banner basic-auth-password bearer-token-login-fallback bitbucket-repository bitbucket-team
  client-id client-secret client-secret-file code-challenge-method cookie-csrf-expire cookie-csrf-per-request
  cookie-csrf-per-request-limit cookie-csrf-samesite cookie-domain cookie-expire cookie-httponly cookie-name
  cookie-path cookie-refresh cookie-samesite cookie-secret cookie-secret-file cookie-secure custom-sign-in-logo
  custom-templates-dir disable-keep-alives display-htpasswd-form email-domain encode-state entra-id-allowed-tenant
  entra-id-federated-token-auth errors-to-info-log exclude-logging-path extra-jwt-issuers flush-interval footer
  force-code-challenge-method force-https force-json-errors gcp-healthchecks github-org github-repo github-team
  github-token github-user gitlab-group gitlab-project google-admin-api-user-scope google-admin-email google-group
  google-service-account-json google-target-principal google-use-application-default-credentials
  google-use-organization-id htpasswd-file htpasswd-user-group http-address https-address
  insecure-oidc-allow-unverified-email insecure-oidc-skip-issuer-verification insecure-oidc-skip-nonce jwt-key
  jwt-key-file keycloak-group logging-compress logging-filename logging-local-time logging-max-age
  logging-max-backups logging-max-size login-url metrics-address metrics-secure-address metrics-tls-cert-file
  metrics-tls-key-file oidc-audience-claim oidc-email-claim oidc-enabled-signing-alg oidc-extra-audience
  oidc-groups-claim oidc-issuer-url oidc-jwks-url oidc-public-key-file pass-access-token pass-authorization-header
  pass-basic-auth pass-host-header pass-user-headers ping-path ping-user-agent prefer-email-to-user profile-url
  prompt provider provider-ca-file provider-display-name proxy-prefix proxy-websockets pubjwk-url ready-path
  real-client-ip-header redeem-url redirect-url redis-ca-path redis-cluster-connection-urls
  redis-connection-idle-timeout redis-connection-url redis-insecure-skip-tls-verify redis-password
  redis-sentinel-connection-urls redis-sentinel-master-name redis-sentinel-password redis-use-cluster
  redis-use-sentinel redis-username relative-redirect-url request-id-header request-logging request-logging-format
  resource reverse-proxy scope session-cookie-minimal session-store-type set-authorization-header set-basic-auth
  set-xauthrequest show-debug-on-error signature-key silence-ping-logging skip-auth-preflight skip-auth-regex
  skip-auth-route skip-auth-strip-headers skip-claims-from-profile-url skip-jwt-bearer-tokens skip-oidc-discovery
  skip-provider-button ssl-insecure-skip-verify ssl-upstream-insecure-skip-verify standard-logging
  standard-logging-format tls-cert-file tls-cipher-suite tls-key-file tls-min-version trusted-ip trusted-proxy-ip
  upstream upstream-timeout use-system-trust-store user-id-claim validate-url whitelist-domain
  alpha-config config config-test convert-config-to-alpha version
`

/** The keys of lists, whose flags are in the singular. */
const lists = `
  allowed_groups allowed_roles api_routes cookie_domains email_domains entra_id_allowed_tenants
  exclude_logging_paths github_users gitlab_groups gitlab_projects google_groups htpasswd_user_groups
  keycloak_groups oidc_audience_claims oidc_enabled_signing_algs oidc_extra_audiences oidc_public_key_files
  provider_ca_files skip_auth_routes tls_cipher_suites trusted_ips trusted_proxy_ips upstreams whitelist_domains
`

/** Every key of the alpha configuration of oauth2-proxy 7.15. */
const alphaKeys = `
  server.bindAddress server.secureBindAddress server.tls.key.fromEnv server.tls.key.fromFile server.tls.key.value
  server.tls.cert.fromEnv server.tls.cert.fromFile server.tls.cert.value server.tls.minVersion server.tls.cipherSuites
  metricsServer.bindAddress metricsServer.secureBindAddress metricsServer.tls.key.fromFile metricsServer.tls.cert.fromFile
  metricsServer.tls.minVersion metricsServer.tls.cipherSuites
  injectRequestHeaders.name injectRequestHeaders.preserveRequestValue
  injectRequestHeaders.InsecureSkipHeaderNormalization injectRequestHeaders.values.claimSource.claim
  injectRequestHeaders.values.claimSource.prefix injectRequestHeaders.values.claimSource.basicAuthPassword.value
  injectRequestHeaders.values.secretSource.value injectRequestHeaders.values.secretSource.fromEnv
  injectRequestHeaders.values.secretSource.fromFile injectRequestHeaders.values.claim injectRequestHeaders.values.value
  injectResponseHeaders.name injectResponseHeaders.values.claimSource.claim injectResponseHeaders.values.secretSource.value
  upstreamConfig.proxyRawPath upstreamConfig.upstreams.id upstreamConfig.upstreams.path
  upstreamConfig.upstreams.rewriteTarget upstreamConfig.upstreams.uri upstreamConfig.upstreams.insecureSkipTLSVerify
  upstreamConfig.upstreams.static upstreamConfig.upstreams.staticCode upstreamConfig.upstreams.flushInterval
  upstreamConfig.upstreams.passHostHeader upstreamConfig.upstreams.proxyWebSockets upstreamConfig.upstreams.timeout
  upstreamConfig.upstreams.disableKeepAlives
  providers.clientID providers.clientSecret providers.clientSecretFile providers.id providers.provider providers.name
  providers.caFiles providers.useSystemTrustStore providers.loginURL providers.loginURLParameters.name
  providers.loginURLParameters.default providers.loginURLParameters.allow.value providers.loginURLParameters.allow.pattern
  providers.authRequestResponseMode providers.redeemURL providers.profileURL providers.skipClaimsFromProfileURL
  providers.resource providers.validateURL providers.scope providers.allowedGroups providers.code_challenge_method
  providers.additionalClaims providers.backendLogoutURL
  providers.keycloakConfig.groups providers.keycloakConfig.roles providers.azureConfig.tenant
  providers.azureConfig.graphGroupField providers.microsoftEntraIDConfig.allowedTenants
  providers.microsoftEntraIDConfig.federatedTokenAuth providers.ADFSConfig.skipScope providers.bitbucketConfig.team
  providers.bitbucketConfig.repository providers.githubConfig.org providers.githubConfig.team providers.githubConfig.repo
  providers.githubConfig.token providers.githubConfig.users providers.gitlabConfig.group providers.gitlabConfig.projects
  providers.googleConfig.group providers.googleConfig.adminEmail providers.googleConfig.serviceAccountJson
  providers.googleConfig.useApplicationDefaultCredentials providers.googleConfig.targetPrincipal
  providers.googleConfig.useOrganizationID providers.googleConfig.adminAPIUserScope
  providers.oidcConfig.issuerURL providers.oidcConfig.insecureAllowUnverifiedEmail
  providers.oidcConfig.insecureSkipIssuerVerification providers.oidcConfig.insecureSkipNonce
  providers.oidcConfig.skipDiscovery providers.oidcConfig.jwksURL providers.oidcConfig.publicKeyFiles
  providers.oidcConfig.emailClaim providers.oidcConfig.groupsClaim providers.oidcConfig.userIDClaim
  providers.oidcConfig.audienceClaims providers.oidcConfig.extraAudiences providers.oidcConfig.enabledSigningAlgs
  providers.loginGovConfig.jwtKey providers.loginGovConfig.jwtKeyFile providers.loginGovConfig.pubjwkURL
`

const namesIn = (text: string): string[] => text.split(/\s+/).filter((name) => name !== '')

for (const flag of namesIn(flags)) {
  void t.test(`--${flag} is known, and reported or carried over`, (t) => {
    const key = keyOfFlag(flag)
    t.ok(Object.hasOwn(oauth2Proxy, key))
    const migration = migrateFiles([{ name: 'run.sh', text: `oauth2-proxy \\\n --${flag}=1 \\\n --provider=oidc` }])
    const text = `${writeYaml(migration)}${writeReport(migration)}`
    t.match(text, new RegExp(`--${flag} \\(2\\)|run.sh:2: --${flag}: `))
    t.notMatch(text, 'not a key of oauth2-proxy')
    t.end()
  })
}

void t.test('the keys of files and variables are known, also those of lists', (t) => {
  for (const name of [...namesIn(flags).map(keyOfFlag), ...namesIn(lists)]) {
    t.ok(Object.hasOwn(oauth2Proxy, name), name)
    t.equal(keyOfVariable(`OAUTH2_PROXY_${name.toUpperCase()}`), name)
  }
  t.end()
})

void t.test('the keys of the alpha configuration are known, in any case of their letters', (t) => {
  for (const key of namesIn(alphaKeys)) {
    for (const written of [key, key.toLowerCase()]) {
      const [setting] = withOlderNames([{ key: written, written, value: '', file: 'alpha.yaml', line: 1 }])
      t.ok(Object.hasOwn(alphaRules, setting?.key ?? ''), written)
    }
  }
  t.end()
})
