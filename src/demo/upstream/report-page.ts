import type { IncomingHttpHeaders } from 'node:http'
import { escapeHtml } from '../escape-html.ts'
import { signedInUser } from './identity.ts'
import { layout } from './layout.ts'
import { reportScript } from './report-script.ts'

const tabs = [1, 2, 3, 4, 5].map((n) => `<a href="/tab/${n}#/part/${n}" target="_blank" rel="noopener">Tab ${n}</a>`)

/** The page with the long form: it loads the gateway's `auto.js`, and nothing written in it is lost. */
export const reportPage = (headers: IncomingHttpHeaders): string =>
  layout(
    'A long form',
    signedInUser(headers),
    `
<section>
<h2>Your session</h2>
<p id="left" role="timer"></p>
<p id="expiring" role="alert" hidden>Your session is about to end.
<button id="extend" type="button">Stay signed in</button></p>
<p id="needed" role="alert" hidden>Your browser did not open the sign-in window.
<button id="login" type="button">Sign in to go on</button></p>
<p><button id="expire" type="button" class="quiet">Expire my session now</button></p>
</section>
<section>
<h2>An hour of work</h2>
<form method="post" action="/report">
<p><label for="title">Title</label><br><input id="title" name="title" value="What the week has brought"></p>
<p><label for="text">Report</label><br>
<textarea id="text" name="text"
rows="8">Write something here, expire your session with the button above, then save.</textarea></p>
<p><button id="save" type="button">Save by script</button>
<button class="quiet">Send as a form</button>
<button id="approve" type="button" class="quiet">Approve with a second factor</button></p>
<p id="saved" class="soft" role="status">not saved yet</p>
</form>
</section>
<section>
<h2>What to see here</h2>
<ul>
<li>Expire the session, then <em>save by script</em>: the call gets a 401, <code>auto.js</code> signs you in again
without a word, and repeats the call with all that you wrote. Where the browser keeps the provider’s cookies out of
frames, a small window does it.</li>
<li>Expire it, then <em>send as a form</em>: a page keeps the form in this tab and sends it once you are signed in.</li>
<li><em>Approve</em> asks for a second factor in a window, then goes on.</li>
<li>Do nothing for a while: before the end the page offers to stay signed in.</li>
<li>Open this page twice and log out in one tab: the other one notices.</li>
<li>Expire the session and open these in tabs of their own, all before you sign in: ${tabs.join(', ')}.
Each ends where it should.</li>
</ul>
</section>
<script>${reportScript}</script>`,
    '<script src="/oauth2/auto.js"></script>\n',
  )

/** What the long form's POST ends in. */
export const reportedPage = (headers: IncomingHttpHeaders, form: URLSearchParams): string =>
  layout(
    'Report received',
    signedInUser(headers),
    `
<section>
<h2>${escapeHtml(form.get('title') ?? '')}</h2>
<pre id="text">${escapeHtml(form.get('text') ?? '')}</pre>
<p><a href="/report">Back to the form</a></p>
</section>`,
  )

/** What a POST that needs a second factor ends in. */
export const approvedPage = (headers: IncomingHttpHeaders): string =>
  layout('Approved', signedInUser(headers), '<section><p>With a second factor.</p></section>')

/** One of the tabs that are opened together. */
export const tabPage = (headers: IncomingHttpHeaders, path: string): string =>
  layout(
    `Tab ${path.slice('/tab/'.length)}`,
    signedInUser(headers),
    '<section><p>This is where this tab wanted to go.</p></section>',
  )
