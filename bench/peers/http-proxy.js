// @fastify/http-proxy alone: no logger, no sessions, no additional headers.
import fastify from 'fastify'
import httpProxy from '@fastify/http-proxy'

const app = fastify()
await app.register(httpProxy, { upstream: process.env.UPSTREAM })
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
