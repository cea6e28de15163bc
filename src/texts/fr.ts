import type { Texts } from './en.ts'

/** The French texts of the pages. A no-break space (U+00A0) or a narrow one (U+202F) precedes `:`, `;` and `?`. */
export const fr: Texts = {
  'request': 'Requête',
  'signed_in_as': 'Vous êtes connecté en tant que {user}.',
  'still_signed_in': 'Vous êtes toujours connecté.',
  'contact': 'Aide : {contact}',

  'button.sign_in': 'Se connecter',
  'button.sign_in_again': 'Se reconnecter',
  'button.sign_in_and_send': 'Se connecter et envoyer',
  'button.sign_in_in_a_new_tab': 'Se connecter dans un nouvel onglet',
  'button.use_another_account': 'Utiliser un autre compte',
  'button.sign_out': 'Se déconnecter',
  'button.stay_signed_in': 'Rester connecté',
  'button.start_page': 'Page d’accueil',
  'button.try_again': 'Réessayer',
  'button.continue': 'Continuer',
  'button.go_back': 'Retour',
  'button.go_back_to_the_form': 'Revenir au formulaire',

  'login_required': 'Vous devez vous connecter pour continuer.',
  'login_required.title': 'Connexion requise',
  'session_expired': 'Votre session est terminée. Reconnectez-vous pour continuer.',
  'session_expired.title': 'Connexion requise',
  'step_up_required': 'Cette page exige une connexion plus sûre ou plus récente.',
  'step_up_required.title': 'Connexion requise',
  'upstream_login_required': 'L’application exige sa propre connexion.',
  'upstream_login_required.title': 'Connexion requise',

  'forbidden': 'Vous n’êtes pas autorisé à ouvrir cette page.',
  'forbidden.title': 'Accès refusé',
  'forbidden.group': 'Pour ouvrir cette page, vous devez appartenir à un autre groupe ou avoir un autre rôle.',
  'forbidden.email': 'Votre adresse e-mail ne fait pas partie de celles qui peuvent ouvrir cette page.',
  'forbidden.network': 'Cette page ne peut pas être ouverte depuis le réseau que vous utilisez.',
  'forbidden.too_many_groups':
    'Vous appartenez à trop de groupes : le service de connexion a omis ceux qui déterminent si vous pouvez ouvrir ' +
    'cette page. Contactez l’administrateur de ce site.',
  'forbidden.scope': 'Il manque au jeton d’accès de cette requête une portée (scope) requise.',
  'forbidden.step_up': 'L’application demande une connexion que le service de connexion n’a pas fournie.',
  'cross_origin': 'Un autre site a envoyé cette requête ; elle n’a donc pas été exécutée.',
  'cross_origin.title': 'Requête d’un autre site',
  'cross_origin.sign_out': 'Un autre site a demandé votre déconnexion ; la requête a donc été refusée.',

  'not_found': 'Il n’y a rien à cette adresse.',
  'not_found.title': 'Page introuvable',
  'ambiguous_path': 'Cette adresse peut être lue de plusieurs façons ; elle n’a donc pas été transmise.',
  'ambiguous_path.title': 'Adresse ambiguë',
  'method_not_allowed': 'Cette méthode ne peut pas être utilisée ici.',
  'method_not_allowed.title': 'Méthode non autorisée',
  'method_not_allowed.others': 'Cette adresse n’accepte que ces méthodes : {methods}.',
  'bad_request': 'Cette requête est incompréhensible.',
  'bad_request.title': 'Requête incorrecte',
  'bad_request.transfer_coding': 'Le corps de cette requête a un codage de transfert autre que « chunked ».',
  'bad_request.transfer_coding.title': 'Codage de transfert inconnu',
  'bad_request.too_slow': 'Votre envoi a mis trop de temps à arriver. Revenez en arrière et recommencez l’envoi.',
  'bad_request.large_head':
    'L’adresse et les en-têtes de cette requête sont trop volumineux. Le plus souvent, cela vient d’un trop grand ' +
    'nombre de cookies : supprimez les cookies de ce site dans votre navigateur, puis réessayez.',
  'bad_request.large_head_upstream': 'Les en-têtes de cette requête sont trop volumineux pour l’application.',
  'bad_request.too_many_headers': 'Cette requête a trop de champs d’en-tête.',
  'bad_request.too_many_trailers': 'Cette requête a trop de champs de fin (trailers).',
  'bad_request.repeated_header': 'Cette requête répète un champ d’en-tête qui ne peut figurer qu’une fois.',
  'payload_too_large': 'Votre envoi dépasse la taille que cette adresse accepte.',
  'payload_too_large.title': 'Envoi trop volumineux',
  'rate_limited': 'Trop de requêtes sont venues de votre adresse. Attendez un instant, puis réessayez.',
  'rate_limited.title': 'Trop de requêtes',

  'internal_error': 'Une erreur s’est produite dans la passerelle. Réessayez dans un instant.',
  'internal_error.title': 'Une erreur s’est produite',
  'upstream_unreachable': 'L’application à cette adresse est actuellement injoignable.',
  'upstream_unreachable.title': 'Application injoignable',
  'upstream_unreachable.loop': 'Cette requête est revenue à la passerelle qui l’avait transmise.',
  'upstream_unreachable.unusable':
    'L’application à cette adresse a renvoyé une réponse qui ne peut pas être transmise.',
  'upstream_unreachable.unusable.title': 'Réponse inutilisable',
  'upstream_unreachable.no_websockets': 'L’application à cette adresse n’accepte pas les WebSockets.',
  'upstream_unreachable.no_websockets.title': 'Pas de WebSockets',
  'upstream_timeout': 'L’application à cette adresse n’a pas répondu à temps.',
  'upstream_timeout.title': 'Application trop lente',
  'provider_unavailable': 'Le service de connexion est actuellement injoignable. Réessayez dans un instant.',
  'provider_unavailable.title': 'Connexion indisponible',
  'store_unavailable': 'Votre session ne peut pas être retrouvée pour le moment. Réessayez dans un instant.',
  'store_unavailable.title': 'Sessions indisponibles',
  'token_unavailable':
    'Votre accès n’a pas pu être renouvelé. Vous êtes toujours connecté ; réessayez dans un instant.',
  'token_unavailable.title': 'Accès non renouvelé',
  'token_unavailable.refused':
    'Le service de connexion n’a pas accordé l’accès à l’application qui se trouve à cette adresse.',
  'invalid_token': 'Le jeton d’accès de cette requête ne peut pas être utilisé ici.',
  'invalid_token.title': 'Jeton non accepté',
  'invalid_token.weak': 'Le jeton d’accès de cette requête vient d’une connexion trop faible ou trop ancienne.',

  'login_failed': 'La connexion n’a pas pu aboutir.',
  'login_failed.title': 'Échec de la connexion',
  'login_failed.elsewhere':
    'Cette adresse termine une connexion commencée ailleurs ou il y a trop longtemps. Recommencez la connexion.',
  'login_failed.spent':
    'Le service de connexion n’accepte plus cette connexion : elle a duré trop longtemps, a déjà été terminée ou ' +
    'n’est pas autorisée. Recommencez la connexion.',
  'login_failed.restarted':
    'La connexion a été recommencée plusieurs fois et a échoué à chaque fois. Vérifiez que ce navigateur accepte les ' +
    'cookies.',
  'login_failed.loop':
    'Vous avez été connecté {count} fois de suite, puis renvoyé ici à chaque fois. Vérifiez que ce navigateur accepte ' +
    'les cookies ; si c’est le cas, l’application est peut-être mal configurée.',
  'login_failed.two_sessions':
    'Ce navigateur envoie deux connexions différentes à la fois pour ce site. Aucune ne peut être utilisée, et l’une ' +
    'd’elles ne peut pas être supprimée d’ici. Supprimez les cookies de ce site dans les réglages du navigateur, puis ' +
    'réessayez.',
  'login_failed.other_provider': 'Ce site n’utilise pas le service de connexion demandé.',
  'login_failed.canceled': 'La connexion a été annulée, ou le service de connexion ne l’a pas autorisée.',
  'login_failed.unfinished':
    'Le service de connexion n’a pas pu terminer cette connexion deux fois de suite. Attendez un instant, puis ' +
    'reconnectez-vous.',
  'login_failed.step_up':
    'Cette page exige une connexion plus sûre ou plus récente, et le service de connexion ne l’a pas fournie.',
  'login_failed.needs_input': 'Le service de connexion a besoin de votre intervention. Recommencez la connexion.',
  'login_failed.unusable': 'Le service de connexion a renvoyé une réponse inutilisable.',
  'login_failed.refused': 'Le service de connexion n’a pas accepté ce que cette connexion demande.',
  'login_failed.no_user':
    'Le service de connexion n’a pas indiqué qui vous êtes ; vous n’êtes donc pas connecté. Réessayez dans un instant.',
  'login_failed.no_groups':
    'Le service de connexion n’a pas indiqué à quels groupes vous appartenez ; vous n’êtes donc pas connecté. Réessayez ' +
    'dans un instant. Si cela se reproduit, signalez-le aux responsables de ce site.',
  'logout_refused': 'Cette demande de déconnexion a été refusée.',
  'logout_refused.title': 'Déconnexion refusée',
  'logout_refused.used':
    'Ce lien n’est valable qu’une seule fois, pendant une minute et dans le navigateur où vous vous êtes déconnecté. ' +
    'Ici, vous êtes déconnecté.',

  'login': 'Vous allez être redirigé vers le service de connexion.',
  'login.title': 'Connexion en cours',
  'choose_provider': 'Choisissez comment vous voulez vous connecter.',
  'choose_provider.title': 'Se connecter',
  'signed_in': 'Vous allez être redirigé vers la page demandée.',
  'signed_in.title': 'Connecté',
  'silent.signed_in': 'Vous êtes connecté. Vous pouvez fermer cette fenêtre.',
  'silent.signed_in.title': 'Connecté',
  'silent.not_signed_in': 'La connexion automatique n’a pas été possible.',
  'silent.not_signed_in.title': 'Non connecté',
  'confirm_logout': 'Un lien d’un autre site demande votre déconnexion.',
  'confirm_logout.title': 'Se déconnecter ?',
  'signing_out': 'Vous allez aussi être déconnecté du service de connexion.',
  'signing_out.title': 'Déconnexion en cours',
  'signed_out': 'Vous êtes déconnecté.',
  'signed_out.title': 'Déconnecté',

  'kept_form': 'Votre saisie est conservée dans cet onglet et sera envoyée dès que vous serez connecté.',
  'form_not_kept':
    'Ce navigateur ne conserve rien pour ce site. Revenez en arrière : votre saisie est encore là. Connectez-vous dans ' +
    'un autre onglet, puis renvoyez le formulaire.',
  'form_too_large':
    'Ce formulaire contient des fichiers ou est trop volumineux pour être conservé pendant la connexion. Rien n’est ' +
    'perdu : connectez-vous dans un nouvel onglet, revenez à celui-ci, puis à votre formulaire. Votre saisie est encore ' +
    'là ; renvoyez-la.',
  'form_too_large.title': 'Pas encore envoyé',
  'posting_form': 'Vous êtes connecté ; votre formulaire est en cours d’envoi.',
  'posting_form.title': 'Envoi du formulaire',
  'nothing_to_send': 'Il n’y a rien à envoyer : ce formulaire a déjà été envoyé ou est conservé dans un autre onglet.',
}
