import { parse, parseAllDocuments } from 'yaml'
import { startNginx } from '../../support/nginx.ts'
import { documentedYaml, startEnvoyWith, type Places, type StartProxy } from './documented-proxies.ts'

// What the controllers make of the Kubernetes objects in docs/forward-auth.md. The objects are read from the page.

type Headers = readonly string[]

/** The objects of a documented YAML block. The caller names the type that the test needs. */
const objectsWith = <T>(text: string): T[] =>
  parseAllDocuments(documentedYaml(text)).map((document): T => document.toJS())

const urlOf = (verdicts: string, documented: string): string => {
  const { pathname, search } = new URL(documented)
  return `http://${verdicts}${pathname}${search}`
}

/** The configuration that ingress-nginx generates for an Ingress with the documented annotations. */
export const startIngressNginx: StartProxy = async (t, { port, gateway, verdicts, application, certificate }) => {
  const { metadata }: { metadata: { annotations: Record<string, string> } } = parse(documentedYaml('/auth-url:'))
  const annotation = (name: string): string => metadata.annotations[`nginx.ingress.kubernetes.io/${name}`] ?? ''
  const responseHeaders = annotation('auth-response-headers').split(', ')
  const signin = new URL(annotation('auth-signin').replace('$escaped_request_uri', ''))
  await startNginx(
    t,
    port,
    `map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
server {
  listen 127.0.0.1:${port} ssl;
  ssl_certificate FOLDER/orders.crt;
  ssl_certificate_key FOLDER/orders.key;
  client_max_body_size ${annotation('proxy-body-size')};
  location /oauth2 {
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_pass http://${gateway};
  }
  location = /_external-auth {
    internal;
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
    proxy_set_header X-Forwarded-Proto "";
    proxy_set_header Host ${new URL(annotation('auth-url')).host};
    proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
    proxy_set_header X-Original-Method $request_method;
    proxy_set_header X-Sent-From nginx-ingress-controller;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Auth-Request-Redirect $request_uri;
    proxy_buffer_size ${annotation('proxy-buffer-size')};
    proxy_buffers 4 ${annotation('proxy-buffer-size')};
    proxy_http_version 1.1;
    proxy_pass ${urlOf(verdicts, annotation('auth-url'))};
  }
  location @signin { return 302 $scheme://$http_host${signin.pathname}${signin.search}$request_uri; }
  location / {
    auth_request /_external-auth;
    ${responseHeaders
      .map(
        (
          name,
          index,
        ) => `auth_request_set $authHeader${index} $upstream_http_${name.toLowerCase().replaceAll('-', '_')};
    proxy_set_header '${name}' $authHeader${index};`,
      )
      .join('\n    ')}
    error_page 401 = @signin;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_buffering ${annotation('proxy-buffering')};
    proxy_buffer_size ${annotation('proxy-buffer-size')};
    proxy_buffers 4 ${annotation('proxy-buffer-size')};
    proxy_read_timeout ${annotation('proxy-read-timeout')}s;
    proxy_http_version 1.1;
    proxy_pass http://${application};
  }
}`,
    { 'orders.crt': certificate.cert, 'orders.key': certificate.key },
  )
}

const EXTENSIONS = 'type.googleapis.com/envoy.extensions'

const cluster = (name: string, address: string): object => {
  const [host, port] = address.split(':')
  const endpoint = { address: { socket_address: { address: host, port_value: Number(port) } } }
  return { name, load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint }] }] } }
}

/** Returns the configuration of an Envoy with these filters, as JSON. */
const envoyConfig = (
  { port, gateway, verdicts, application }: Places,
  manager: object,
  filters: readonly object[],
  routes: readonly object[],
): string => {
  const file = (name: string): object => ({ filename: `/etc/envoy/${name}` })
  const router = { name: 'router', typed_config: { '@type': `${EXTENSIONS}.filters.http.router.v3.Router` } }
  const certificates = [{ certificate_chain: file('orders.crt'), private_key: file('orders.key') }]
  return JSON.stringify({
    static_resources: {
      listeners: [
        {
          name: 'public',
          address: { socket_address: { address: '127.0.0.1', port_value: port } },
          filter_chains: [
            {
              transport_socket: {
                name: 'tls',
                typed_config: {
                  '@type': `${EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext`,
                  'common_tls_context': { tls_certificates: certificates },
                },
              },
              filters: [
                {
                  name: 'hcm',
                  typed_config: {
                    '@type': `${EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
                    'stat_prefix': 'public',
                    'use_remote_address': true,
                    'normalize_path': true,
                    // Envoy would wait for a second before it closes a connection on which it has rejected a request.
                    'delayed_close_timeout': '0.05s',
                    'upgrade_configs': [{ upgrade_type: 'websocket' }],
                    ...manager,
                    'http_filters': [...filters, router],
                    'route_config': { virtual_hosts: [{ name: 'orders', domains: ['*'], routes }] },
                  },
                },
              ],
            },
          ],
        },
      ],
      clusters: [cluster('gatehouse', gateway), cluster('verdicts', verdicts), cluster('orders', application)],
    },
  })
}

/** Envoy Gateway and Istio compare names in any case; Istio's asterisks stand for a prefix or a suffix. */
const patterns = (names: Headers): object => ({
  patterns: names.map((name) => ({
    ignore_case: true,
    ...(name.endsWith('*') ? { prefix: name.slice(0, -1) } : { exact: name }),
  })),
})

const extAuthz = (config: object): object => ({
  name: 'envoy.filters.http.ext_authz',
  typed_config: {
    '@type': `${EXTENSIONS}.filters.http.ext_authz.v3.ExtAuthz`,
    'transport_api_version': 'V3',
    ...config,
  },
})

const httpService = (path: string, headersToUpstream: Headers): object => ({
  path_prefix: path,
  server_uri: { uri: 'http://verdicts', cluster: 'verdicts', timeout: '10s' },
  authorization_response: { allowed_upstream_headers: patterns(headersToUpstream) },
})

type SecurityPolicy = {
  readonly kind: string
  readonly spec: {
    readonly extAuth: {
      readonly headersToExtAuth: Headers
      readonly statusOnError: number
      readonly http: { readonly path: string; readonly headersToBackend: Headers }
    }
  }
}

export const startEnvoyGateway: StartProxy = async (t, places) => {
  const policy = objectsWith<SecurityPolicy>('kind: SecurityPolicy').find(({ kind }) => kind === 'SecurityPolicy')
  if (policy === undefined) throw new Error('docs/forward-auth.md has no SecurityPolicy')
  const { headersToExtAuth, statusOnError, http } = policy.spec.extAuth
  const filter = extAuthz({
    allowed_headers: patterns(headersToExtAuth),
    status_on_error: { code: statusOnError },
    http_service: httpService(http.path, http.headersToBackend),
  })
  const enabled = { '@type': `${EXTENSIONS}.filters.http.ext_authz.v3.ExtAuthzPerRoute`, 'check_settings': {} }
  await startEnvoyWith(
    t,
    places.port,
    envoyConfig(
      places,
      {
        merge_slashes: true,
        path_with_escaped_slashes_action: 'UNESCAPE_AND_REDIRECT',
        common_http_protocol_options: { headers_with_underscores_action: 'REJECT_REQUEST' },
      },
      [{ ...filter, disabled: true }],
      [
        // The PathPrefix of the Gateway API matches whole segments.
        { match: { path_separated_prefix: '/oauth2' }, route: { cluster: 'gatehouse' } },
        {
          match: { prefix: '/' },
          route: { cluster: 'orders', timeout: '0s' },
          typed_per_filter_config: { 'envoy.filters.http.ext_authz': enabled },
        },
      ],
    ),
    places.certificate,
  )
}

type MeshConfig = {
  readonly meshConfig: {
    readonly extensionProviders: readonly {
      readonly envoyExtAuthzHttp: {
        readonly pathPrefix: string
        readonly statusOnError: string
        readonly includeRequestHeadersInCheck: Headers
        readonly headersToUpstreamOnAllow: Headers
      }
    }[]
  }
}

type AuthorizationPolicy = {
  readonly spec: {
    readonly rules: readonly { readonly to: readonly { readonly operation: { readonly notPaths: Headers } }[] }[]
  }
}

export const startIstio: StartProxy = async (t, places) => {
  const [{ meshConfig } = { meshConfig: { extensionProviders: [] } }] = objectsWith<MeshConfig>('meshConfig:')
  const [provider] = meshConfig.extensionProviders
  const [policy] = objectsWith<AuthorizationPolicy>('kind: AuthorizationPolicy')
  if (provider === undefined || policy === undefined) throw new Error('docs/forward-auth.md has no objects for Istio')
  const { pathPrefix, statusOnError, includeRequestHeadersInCheck, headersToUpstreamOnAllow } =
    provider.envoyExtAuthzHttp
  const notPaths = policy.spec.rules.flatMap(({ to }) => to.flatMap(({ operation }) => operation.notPaths))
  const excluded = notPaths.map((path) => ({
    not_rule: { url_path: { path: { prefix: path.replace(/\*$/, '') } } },
  }))
  await startEnvoyWith(
    t,
    places.port,
    envoyConfig(
      places,
      {},
      [
        {
          name: 'envoy.filters.http.rbac',
          typed_config: {
            '@type': `${EXTENSIONS}.filters.http.rbac.v3.RBAC`,
            'shadow_rules_stat_prefix': 'istio_ext_authz_',
            'shadow_rules': {
              action: 'DENY',
              policies: {
                'istio-ext-authz-gatehouse': {
                  permissions: [{ and_rules: { rules: excluded } }],
                  principals: [{ any: true }],
                },
              },
            },
          },
        },
        extAuthz({
          allowed_headers: patterns(includeRequestHeadersInCheck),
          status_on_error: { code: Number(statusOnError) },
          http_service: httpService(pathPrefix, headersToUpstreamOnAllow),
          filter_enabled_metadata: {
            filter: 'envoy.filters.http.rbac',
            path: [{ key: 'istio_ext_authz_shadow_effective_policy_id' }],
            value: { string_match: { prefix: 'istio-ext-authz-gatehouse' } },
          },
        }),
      ],
      [
        { match: { prefix: '/oauth2/' }, route: { cluster: 'gatehouse' } },
        { match: { prefix: '/' }, route: { cluster: 'orders', timeout: '0s' } },
      ],
    ),
    places.certificate,
  )
}
