import type { Test } from 'tap'
import { startProxyProgram } from './proxy-program.ts'

// nginx's default places belong to the system.
const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  .map((kind) => `${kind}_temp_path FOLDER/${kind};`)
  .join('\n')

/**
 * Starts Debian's nginx with a configuration as it stands in `conf.d`, and these files beside it, for whose folder
 * `FOLDER` stands; resolves when it listens on `port`. It ends with the test.
 */
export const startNginx = async (
  t: Test,
  port: number,
  conf: string,
  files: Readonly<Record<string, string>> = {},
): Promise<void> =>
  startProxyProgram(t, port, {
    name: 'nginx',
    files: {
      ...files,
      'nginx.conf': `
daemon off;
worker_processes 1;
pid FOLDER/pid;
error_log stderr warn;
events { worker_connections 256; }
http {
  access_log off;
  ${temporary}
  ${conf}
}
`,
    },
    args: (folder) => ['-e', 'stderr', '-p', folder, '-c', `${folder}/nginx.conf`],
  })
