// @fastify/http-proxy with nothing around it: no logger, no session, no header of its own.
import fastify from 'fastify'
import httpProxy from '@fastify/http-proxy'

const app = fastify()
await app.register(httpProxy, { upstream: process.env.UPSTREAM })
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
