import type { Test } from 'tap'
import { startProxyProgram } from './proxy-program.ts'

// The tests may not be allowed to write to nginx's default folders.
const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  .map((kind) => `${kind}_temp_path FOLDER/${kind};`)
  .join('\n')

/**
 * Starts Debian's nginx with a configuration in the format of `conf.d` and with these files. `FOLDER` in the files
 * stands for their folder. Resolves when nginx listens on `port`. It ends with the test.
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
