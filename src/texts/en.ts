/**
 * The English texts of the pages by the names that `pages.texts` uses. A code or page `NAME` has the text `NAME`, the
 * heading `NAME.title`, and further texts `NAME.CASE` for cases that deserve a sentence of their own. Problems have the
 * same texts, always in English.
 */
export const en = {
  'request': 'Request',
  'signed_in_as': 'You are signed in as {user}.',
  'still_signed_in': 'You are still signed in.',
  'contact': 'Help: {contact}',

  'button.sign_in': 'Sign in',
  'button.sign_in_again': 'Sign in again',
  'button.sign_in_and_send': 'Sign in and send',
  'button.sign_in_in_a_new_tab': 'Sign in on a new tab',
  'button.use_another_account': 'Use another account',
  'button.sign_out': 'Sign out',
  'button.stay_signed_in': 'Stay signed in',
  'button.start_page': 'Start page',
  'button.try_again': 'Try again',
  'button.continue': 'Continue',
  'button.go_back': 'Go back',
  'button.go_back_to_the_form': 'Go back to the form',

  'login_required': 'You have to sign in to continue.',
  'login_required.title': 'Sign-in required',
  'session_expired': 'Your session has ended. Sign in again to continue.',
  'session_expired.title': 'Sign-in required',
  'step_up_required': 'This page requires a stronger or more recent sign-in.',
  'step_up_required.title': 'Sign-in required',
  'upstream_login_required': 'The application requires its own sign-in.',
  'upstream_login_required.title': 'Sign-in required',

  'forbidden': 'You are not allowed to open this.',
  'forbidden.title': 'Not allowed',
  'forbidden.group': 'To open this, you need to be in another group or have another role.',
  'forbidden.email': 'Your email address is not one of those that may open this.',
  'forbidden.network': 'This can’t be opened from the network that you are using.',
  'forbidden.too_many_groups':
    'You are in too many groups: the sign-in service left out the ones that decide whether you may open this. Contact ' +
    'the administrator of this site.',
  'forbidden.scope': 'The access token of this request lacks a required scope.',
  'forbidden.step_up': 'The application asks for a sign-in that the sign-in service did not provide.',
  'cross_origin': 'Another site sent this request, so it was not carried out.',
  'cross_origin.title': 'Request from another site',
  'cross_origin.sign_out': 'Another site asked to sign you out, so the request was refused.',

  'not_found': 'There is nothing at this address.',
  'not_found.title': 'Not found',
  'ambiguous_path': 'This address can be read in more than one way, so it was not passed on.',
  'ambiguous_path.title': 'Ambiguous address',
  'method_not_allowed': 'This method can’t be used here.',
  'method_not_allowed.title': 'Method not allowed',
  'method_not_allowed.others': 'This address accepts only these methods: {methods}.',
  'bad_request': 'This request can’t be understood.',
  'bad_request.title': 'Bad request',
  'bad_request.transfer_coding': 'This request’s body has a transfer coding other than chunked.',
  'bad_request.transfer_coding.title': 'Unknown transfer coding',
  'bad_request.too_slow': 'What you sent took too long to arrive. Go back and send it again.',
  'bad_request.large_head':
    'The address and the headers of this request are too large. The usual cause is too many cookies: delete the ' +
    'cookies of this site in your browser, then try again.',
  'bad_request.large_head_upstream': 'The headers of this request are too large for the application.',
  'bad_request.too_many_headers': 'This request has too many header fields.',
  'bad_request.too_many_trailers': 'This request has too many trailer fields.',
  'bad_request.repeated_header': 'This request repeats a header field that may occur only once.',
  'payload_too_large': 'What was sent is larger than this address accepts.',
  'payload_too_large.title': 'Too large',
  'rate_limited': 'Too many requests came from your address. Wait a moment, then try again.',
  'rate_limited.title': 'Too many requests',

  'internal_error': 'An error occurred in the gateway. Try again in a moment.',
  'internal_error.title': 'Something went wrong',
  'upstream_unreachable': 'The application behind this address can’t be reached right now.',
  'upstream_unreachable.title': 'Application unreachable',
  'upstream_unreachable.loop': 'This request came back to the gateway that forwarded it.',
  'upstream_unreachable.unusable': 'The application behind this address gave a response that can’t be passed on.',
  'upstream_unreachable.unusable.title': 'Unusable response',
  'upstream_unreachable.no_websockets': 'The application behind this address does not accept WebSockets.',
  'upstream_unreachable.no_websockets.title': 'No WebSockets',
  'upstream_timeout': 'The application behind this address did not answer in time.',
  'upstream_timeout.title': 'Application too slow',
  'provider_unavailable': 'The sign-in service can’t be reached right now. Try again in a moment.',
  'provider_unavailable.title': 'Sign-in unavailable',
  'store_unavailable': 'Your session can’t be looked up right now. Try again in a moment.',
  'store_unavailable.title': 'Sessions unavailable',
  'token_unavailable': 'Your access could not be renewed right now. You are still signed in; try again in a moment.',
  'token_unavailable.title': 'Access can’t be renewed',
  'token_unavailable.refused': 'The sign-in service did not grant access to the application at this address.',
  'invalid_token': 'The access token in this request can’t be used here.',
  'invalid_token.title': 'Token not accepted',
  'invalid_token.weak': 'The access token of this request comes from a sign-in that is too weak or too old.',

  'login_failed': 'The sign-in could not be completed.',
  'login_failed.title': 'Sign-in failed',
  'login_failed.elsewhere':
    'This address finishes a sign-in that was started elsewhere or too long ago. Sign in again.',
  'login_failed.spent':
    'The sign-in service no longer accepts this sign-in: it took too long, was already finished, or is not allowed. ' +
    'Sign in again.',
  'login_failed.restarted':
    'The sign-in was restarted several times and failed each time. Check that this browser accepts cookies.',
  'login_failed.loop':
    'You were signed in {count} times in a row, and were sent back here each time. Check that this browser accepts ' +
    'cookies. If it does, the application may be misconfigured.',
  'login_failed.two_sessions':
    'This browser sends two different sign-ins for this site at the same time, so neither can be used, and one of them ' +
    'can’t be removed from here. Delete the cookies of this site in the browser’s settings, then try again.',
  'login_failed.other_provider': 'This site does not use the sign-in service that was requested.',
  'login_failed.canceled': 'The sign-in was canceled, or the sign-in service did not allow it.',
  'login_failed.unfinished':
    'The sign-in service failed to finish this sign-in twice in a row. Wait a moment, then sign in again.',
  'login_failed.step_up':
    'This page requires a stronger or more recent sign-in, and the sign-in service did not provide it.',
  'login_failed.needs_input': 'The sign-in service needs your input. Sign in again.',
  'login_failed.unusable': 'The sign-in service gave a response that can’t be used.',
  'login_failed.refused': 'The sign-in service did not accept what this sign-in asks for.',
  'login_failed.no_user':
    'The sign-in service did not say who you are, so you are not signed in. Try again in a moment.',
  'login_failed.no_groups':
    'The sign-in service did not say which groups you are in, so you are not signed in. Try again in a moment. If it ' +
    'happens again, tell the people who run this site.',
  'logout_refused': 'This sign-out request was refused.',
  'logout_refused.title': 'Sign-out refused',
  'logout_refused.used':
    'This link works only once, for one minute, and only in the browser where you signed out. You are signed out here.',

  'login': 'You are being taken to the sign-in service.',
  'login.title': 'Signing in',
  'choose_provider': 'Choose how you want to sign in.',
  'choose_provider.title': 'Sign in',
  'signed_in': 'You are being taken to the page that you requested.',
  'signed_in.title': 'Signed in',
  'silent.signed_in': 'You are signed in. This window can be closed.',
  'silent.signed_in.title': 'Signed in',
  'silent.not_signed_in': 'You could not be signed in automatically.',
  'silent.not_signed_in.title': 'Not signed in',
  'confirm_logout': 'A link from another site asks to sign you out.',
  'confirm_logout.title': 'Sign out?',
  'signing_out': 'You are being signed out at the sign-in service, too.',
  'signing_out.title': 'Signing out',
  'signed_out': 'You are signed out.',
  'signed_out.title': 'Signed out',

  'kept_form': 'What you entered is kept in this browser tab and sent once you are signed in.',
  'form_not_kept':
    'This browser keeps nothing for this site. Go back: what you entered is still there. Sign in on another tab, then ' +
    'send it again.',
  'form_too_large':
    'This form has files or is too large to be kept while you sign in. Nothing is lost: sign in on a new tab, come ' +
    'back to this one and go back to your form. What you entered is still there; send it again.',
  'form_too_large.title': 'Not sent yet',
  'posting_form': 'You are signed in; your form is being sent.',
  'posting_form.title': 'Sending your form',
  'nothing_to_send': 'There is nothing to send: this form has been sent already, or was kept in another tab.',
} as const

/** The name of a text in `pages.texts`. */
export type TextName = keyof typeof en

/** The texts of a language, with the placeholders of the English ones. */
export type Texts = { readonly [name in TextName]: string }
