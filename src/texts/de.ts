import type { Texts } from './en.ts'

/** The German texts of the pages. */
export const de: Texts = {
  'request': 'Anfrage',
  'signed_in_as': 'Sie sind als {user} angemeldet.',
  'still_signed_in': 'Sie sind weiterhin angemeldet.',
  'contact': 'Hilfe: {contact}',

  'button.sign_in': 'Anmelden',
  'button.sign_in_again': 'Erneut anmelden',
  'button.sign_in_and_send': 'Anmelden und absenden',
  'button.sign_in_in_a_new_tab': 'In einem neuen Tab anmelden',
  'button.use_another_account': 'Anderes Konto verwenden',
  'button.sign_out': 'Abmelden',
  'button.stay_signed_in': 'Angemeldet bleiben',
  'button.start_page': 'Zur Startseite',
  'button.try_again': 'Erneut versuchen',
  'button.continue': 'Weiter',
  'button.go_back': 'Zurück',
  'button.go_back_to_the_form': 'Zurück zum Formular',

  'login_required': 'Bitte melden Sie sich an, um fortzufahren.',
  'login_required.title': 'Anmeldung erforderlich',
  'session_expired': 'Ihre Sitzung ist beendet. Melden Sie sich erneut an, um fortzufahren.',
  'session_expired.title': 'Anmeldung erforderlich',
  'step_up_required': 'Für diese Seite ist eine stärkere oder neuere Anmeldung nötig.',
  'step_up_required.title': 'Anmeldung erforderlich',
  'upstream_login_required': 'Die Anwendung verlangt eine eigene Anmeldung.',
  'upstream_login_required.title': 'Anmeldung erforderlich',

  'forbidden': 'Sie dürfen diese Seite nicht öffnen.',
  'forbidden.title': 'Kein Zugriff',
  'forbidden.group':
    'Um diese Seite zu öffnen, müssen Sie einer anderen Gruppe angehören oder eine andere Rolle haben.',
  'forbidden.email': 'Ihre E-Mail-Adresse gehört nicht zu denen, die diese Seite öffnen dürfen.',
  'forbidden.network': 'Aus dem Netzwerk, das Sie gerade verwenden, lässt sich diese Seite nicht öffnen.',
  'forbidden.too_many_groups':
    'Sie gehören zu vielen Gruppen an: Der Anmeldedienst hat diejenigen weggelassen, die darüber entscheiden, ob Sie ' +
    'diese Seite öffnen dürfen. Wenden Sie sich an die Administration dieser Website.',
  'forbidden.scope': 'Dem Zugriffstoken dieser Anfrage fehlt ein erforderlicher Scope.',
  'forbidden.step_up': 'Die Anwendung verlangt eine Anmeldung, die der Anmeldedienst nicht geliefert hat.',
  'cross_origin': 'Diese Anfrage kam von einer anderen Website und wurde deshalb nicht ausgeführt.',
  'cross_origin.title': 'Anfrage von einer anderen Website',
  'cross_origin.sign_out': 'Eine andere Website wollte Sie abmelden. Die Anfrage wurde deshalb abgelehnt.',

  'not_found': 'Unter dieser Adresse gibt es nichts.',
  'not_found.title': 'Nicht gefunden',
  'ambiguous_path': 'Diese Adresse lässt sich auf mehr als eine Weise lesen und wurde deshalb nicht weitergeleitet.',
  'ambiguous_path.title': 'Mehrdeutige Adresse',
  'method_not_allowed': 'Diese Methode ist hier nicht möglich.',
  'method_not_allowed.title': 'Methode nicht erlaubt',
  'method_not_allowed.others': 'Unter dieser Adresse sind nur diese Methoden möglich: {methods}.',
  'bad_request': 'Diese Anfrage ist nicht verständlich.',
  'bad_request.title': 'Ungültige Anfrage',
  'bad_request.transfer_coding':
    'Der Inhalt dieser Anfrage ist auf andere Weise als mit „chunked“ für die Übertragung kodiert.',
  'bad_request.transfer_coding.title': 'Unbekannte Übertragungskodierung',
  'bad_request.too_slow':
    'Die Übertragung Ihrer Angaben hat zu lange gedauert. Gehen Sie zurück und senden Sie sie noch einmal.',
  'bad_request.large_head':
    'Adresse und Kopfzeilen dieser Anfrage sind zu groß. Meist liegt das an zu vielen Cookies: Löschen Sie die Cookies ' +
    'dieser Website in Ihrem Browser und versuchen Sie es dann erneut.',
  'bad_request.large_head_upstream': 'Die Kopfzeilen dieser Anfrage sind für die Anwendung zu groß.',
  'bad_request.too_many_headers': 'Diese Anfrage hat zu viele Kopfzeilen.',
  'bad_request.too_many_trailers': 'Diese Anfrage hat zu viele Trailer-Felder.',
  'bad_request.repeated_header': 'Diese Anfrage wiederholt eine Kopfzeile, die nur einmal vorkommen darf.',
  'payload_too_large': 'Die gesendeten Daten sind zu groß.',
  'payload_too_large.title': 'Zu groß',
  'rate_limited':
    'Von Ihrer Adresse kamen zu viele Anfragen. Warten Sie einen Moment und versuchen Sie es dann erneut.',
  'rate_limited.title': 'Zu viele Anfragen',

  'internal_error': 'Im Gateway ist ein Fehler aufgetreten. Versuchen Sie es in Kürze erneut.',
  'internal_error.title': 'Etwas ist schiefgegangen',
  'upstream_unreachable': 'Die Anwendung hinter dieser Adresse ist gerade nicht erreichbar.',
  'upstream_unreachable.title': 'Anwendung nicht erreichbar',
  'upstream_unreachable.loop': 'Diese Anfrage ist zu dem Gateway zurückgekehrt, das sie weitergeleitet hat.',
  'upstream_unreachable.unusable':
    'Die Anwendung hinter dieser Adresse hat eine Antwort geliefert, die sich nicht weiterleiten lässt.',
  'upstream_unreachable.unusable.title': 'Unbrauchbare Antwort',
  'upstream_unreachable.no_websockets': 'Die Anwendung hinter dieser Adresse nimmt keine WebSockets an.',
  'upstream_unreachable.no_websockets.title': 'Keine WebSockets',
  'upstream_timeout': 'Die Anwendung hinter dieser Adresse hat nicht rechtzeitig geantwortet.',
  'upstream_timeout.title': 'Anwendung zu langsam',
  'provider_unavailable': 'Der Anmeldedienst ist gerade nicht erreichbar. Versuchen Sie es in Kürze erneut.',
  'provider_unavailable.title': 'Anmeldung nicht möglich',
  'store_unavailable': 'Ihre Sitzung lässt sich gerade nicht abrufen. Versuchen Sie es in Kürze erneut.',
  'store_unavailable.title': 'Sitzungen nicht verfügbar',
  'token_unavailable':
    'Ihr Zugriff ließ sich gerade nicht erneuern. Sie sind weiterhin angemeldet; versuchen Sie es in Kürze erneut.',
  'token_unavailable.title': 'Zugriff lässt sich nicht erneuern',
  'token_unavailable.refused':
    'Der Anmeldedienst hat den Zugriff auf die Anwendung unter dieser Adresse nicht gewährt.',
  'invalid_token': 'Das Zugriffstoken dieser Anfrage ist hier nicht verwendbar.',
  'invalid_token.title': 'Token nicht angenommen',
  'invalid_token.weak': 'Das Zugriffstoken dieser Anfrage stammt aus einer zu schwachen oder zu alten Anmeldung.',

  'login_failed': 'Die Anmeldung ließ sich nicht abschließen.',
  'login_failed.title': 'Anmeldung fehlgeschlagen',
  'login_failed.elsewhere':
    'Diese Adresse schließt eine Anmeldung ab, die anderswo oder vor zu langer Zeit begonnen wurde. Melden Sie sich ' +
    'noch einmal an.',
  'login_failed.spent':
    'Der Anmeldedienst nimmt diese Anmeldung nicht mehr an: Sie hat zu lange gedauert, wurde schon abgeschlossen ' +
    'oder ist nicht erlaubt. Melden Sie sich noch einmal an.',
  'login_failed.restarted':
    'Die Anmeldung wurde mehrmals neu begonnen und ist jedes Mal fehlgeschlagen. Prüfen Sie, ob dieser Browser Cookies ' +
    'annimmt.',
  'login_failed.loop':
    'Sie wurden {count}-mal nacheinander angemeldet und jedes Mal hierher zurückgeschickt. Prüfen Sie, ob dieser ' +
    'Browser Cookies annimmt; falls ja, ist vielleicht die Anwendung falsch eingerichtet.',
  'login_failed.two_sessions':
    'Dieser Browser sendet zwei verschiedene Anmeldungen für diese Website zugleich. Keine davon ist verwendbar, und ' +
    'eine davon lässt sich von hier aus nicht entfernen. Löschen Sie die Cookies dieser Website in den Einstellungen ' +
    'des Browsers und versuchen Sie es dann erneut.',
  'login_failed.other_provider': 'Diese Website verwendet den angeforderten Anmeldedienst nicht.',
  'login_failed.canceled': 'Die Anmeldung wurde abgebrochen, oder der Anmeldedienst hat sie nicht erlaubt.',
  'login_failed.unfinished':
    'Der Anmeldedienst konnte diese Anmeldung zweimal nacheinander nicht abschließen. Warten Sie einen Moment und ' +
    'melden Sie sich dann noch einmal an.',
  'login_failed.step_up':
    'Für diese Seite ist eine stärkere oder neuere Anmeldung nötig, und der Anmeldedienst hat sie nicht geliefert.',
  'login_failed.needs_input': 'Der Anmeldedienst benötigt Ihre Eingabe. Melden Sie sich noch einmal an.',
  'login_failed.unusable': 'Der Anmeldedienst hat eine unbrauchbare Antwort geliefert.',
  'login_failed.refused': 'Der Anmeldedienst hat nicht angenommen, was diese Anmeldung verlangt.',
  'login_failed.no_user':
    'Der Anmeldedienst hat nicht mitgeteilt, wer Sie sind. Deshalb sind Sie nicht angemeldet. Versuchen Sie es in ' +
    'Kürze erneut.',
  'login_failed.no_groups':
    'Der Anmeldedienst hat nicht mitgeteilt, welchen Gruppen Sie angehören. Deshalb sind Sie nicht angemeldet. ' +
    'Versuchen Sie es in Kürze erneut. Falls es wieder geschieht, melden Sie es dem Betreiber dieser Website.',
  'logout_refused': 'Diese Abmeldung wurde abgelehnt.',
  'logout_refused.title': 'Abmeldung abgelehnt',
  'logout_refused.used':
    'Dieser Link gilt nur einmal, eine Minute lang und nur in dem Browser, in dem Sie sich abgemeldet haben. Hier sind ' +
    'Sie abgemeldet.',

  'login': 'Sie werden zum Anmeldedienst weitergeleitet.',
  'login.title': 'Anmeldung',
  'choose_provider': 'Wählen Sie, wie Sie sich anmelden möchten.',
  'choose_provider.title': 'Anmelden',
  'signed_in': 'Sie werden zur gewünschten Seite weitergeleitet.',
  'signed_in.title': 'Angemeldet',
  'silent.signed_in': 'Sie sind angemeldet. Sie können dieses Fenster schließen.',
  'silent.signed_in.title': 'Angemeldet',
  'silent.not_signed_in': 'Die automatische Anmeldung war nicht möglich.',
  'silent.not_signed_in.title': 'Nicht angemeldet',
  'confirm_logout': 'Ein Link von einer anderen Website möchte Sie abmelden.',
  'confirm_logout.title': 'Abmelden?',
  'signing_out': 'Sie werden auch beim Anmeldedienst abgemeldet.',
  'signing_out.title': 'Abmeldung',
  'signed_out': 'Sie sind abgemeldet.',
  'signed_out.title': 'Abgemeldet',

  'kept_form':
    'Ihre Eingaben bleiben in diesem Browser-Tab erhalten und werden abgesendet, sobald Sie angemeldet sind.',
  'form_not_kept':
    'Dieser Browser speichert nichts für diese Website. Gehen Sie zurück: Ihre Eingaben sind noch da. Melden Sie sich ' +
    'in einem anderen Tab an und senden Sie das Formular dann noch einmal ab.',
  'form_too_large':
    'Dieses Formular enthält Dateien oder ist zu groß, um während der Anmeldung aufbewahrt zu werden. Es geht nichts ' +
    'verloren: Melden Sie sich in einem neuen Tab an, kommen Sie hierher zurück und gehen Sie zurück zu Ihrem ' +
    'Formular. Ihre Eingaben sind noch da; senden Sie das Formular dann noch einmal ab.',
  'form_too_large.title': 'Noch nicht gesendet',
  'posting_form': 'Sie sind angemeldet; Ihr Formular wird gesendet.',
  'posting_form.title': 'Ihr Formular wird gesendet',
  'nothing_to_send':
    'Es gibt nichts zu senden: Dieses Formular wurde bereits gesendet oder in einem anderen Tab aufbewahrt.',
}
