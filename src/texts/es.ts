import type { Texts } from './en.ts'

/** The Spanish texts of the pages. */
export const es: Texts = {
  'request': 'Solicitud',
  'signed_in_as': 'Ha iniciado sesión como {user}.',
  'still_signed_in': 'Su sesión sigue iniciada.',
  'contact': 'Ayuda: {contact}',

  'button.sign_in': 'Iniciar sesión',
  'button.sign_in_again': 'Volver a iniciar sesión',
  'button.sign_in_and_send': 'Iniciar sesión y enviar',
  'button.sign_in_in_a_new_tab': 'Iniciar sesión en una pestaña nueva',
  'button.use_another_account': 'Usar otra cuenta',
  'button.sign_out': 'Cerrar sesión',
  'button.stay_signed_in': 'Mantener la sesión iniciada',
  'button.start_page': 'Página de inicio',
  'button.try_again': 'Reintentar',
  'button.continue': 'Continuar',
  'button.go_back': 'Volver',
  'button.go_back_to_the_form': 'Volver al formulario',

  'login_required': 'Para continuar, debe iniciar sesión.',
  'login_required.title': 'Inicio de sesión necesario',
  'session_expired': 'Su sesión ha terminado. Vuelva a iniciar sesión para continuar.',
  'session_expired.title': 'Inicio de sesión necesario',
  'step_up_required': 'Esta página requiere un inicio de sesión más seguro o más reciente.',
  'step_up_required.title': 'Inicio de sesión necesario',
  'upstream_login_required': 'La aplicación requiere su propio inicio de sesión.',
  'upstream_login_required.title': 'Inicio de sesión necesario',

  'forbidden': 'No tiene permiso para abrir esta página.',
  'forbidden.title': 'Acceso denegado',
  'forbidden.group': 'Para abrir esta página, debe pertenecer a otro grupo o tener otro rol.',
  'forbidden.email': 'Su dirección de correo electrónico no es una de las que pueden abrir esta página.',
  'forbidden.network': 'Esta página no se puede abrir desde la red que está usando.',
  'forbidden.too_many_groups':
    'Pertenece a demasiados grupos: el servicio de inicio de sesión ha omitido los que determinan si puede abrir esta ' +
    'página. Póngase en contacto con la administración de este sitio.',
  'forbidden.scope': 'El token de acceso de esta solicitud carece de un ámbito (scope) necesario.',
  'forbidden.step_up':
    'La aplicación pide un inicio de sesión que el servicio de inicio de sesión no ha proporcionado.',
  'cross_origin': 'Otro sitio envió esta solicitud, por lo que no se ha ejecutado.',
  'cross_origin.title': 'Solicitud de otro sitio',
  'cross_origin.sign_out': 'Otro sitio pidió cerrar su sesión, por lo que la solicitud se ha rechazado.',

  'not_found': 'No hay nada en esta dirección.',
  'not_found.title': 'No encontrado',
  'ambiguous_path': 'Esta dirección se puede leer de más de una manera, por lo que no se ha transmitido.',
  'ambiguous_path.title': 'Dirección ambigua',
  'method_not_allowed': 'Este método no se puede usar aquí.',
  'method_not_allowed.title': 'Método no permitido',
  'method_not_allowed.others': 'Esta dirección solo acepta estos métodos: {methods}.',
  'bad_request': 'Esta solicitud no se entiende.',
  'bad_request.title': 'Solicitud incorrecta',
  'bad_request.transfer_coding':
    'El cuerpo de esta solicitud tiene una codificación de transferencia distinta de «chunked».',
  'bad_request.transfer_coding.title': 'Codificación de transferencia desconocida',
  'bad_request.too_slow': 'Lo que envió tardó demasiado en llegar. Vuelva atrás y envíelo de nuevo.',
  'bad_request.large_head':
    'La dirección y los encabezados de esta solicitud son demasiado grandes. Casi siempre se debe a un exceso de ' +
    'cookies: elimine las cookies de este sitio en su navegador y vuelva a intentarlo.',
  'bad_request.large_head_upstream': 'Los encabezados de esta solicitud son demasiado grandes para la aplicación.',
  'bad_request.too_many_headers': 'Esta solicitud tiene demasiados encabezados.',
  'bad_request.too_many_trailers': 'Esta solicitud tiene demasiados campos finales.',
  'bad_request.repeated_header': 'Esta solicitud repite un encabezado que solo puede aparecer una vez.',
  'payload_too_large': 'Lo que se envió es más grande de lo que acepta esta dirección.',
  'payload_too_large.title': 'Demasiado grande',
  'rate_limited': 'Han llegado demasiadas solicitudes desde su dirección. Espere un momento y vuelva a intentarlo.',
  'rate_limited.title': 'Demasiadas solicitudes',

  'internal_error': 'Se ha producido un error en la pasarela. Vuelva a intentarlo en un momento.',
  'internal_error.title': 'Algo ha fallado',
  'upstream_unreachable': 'En este momento no se puede acceder a la aplicación de esta dirección.',
  'upstream_unreachable.title': 'Aplicación no disponible',
  'upstream_unreachable.loop': 'Esta solicitud volvió a la pasarela que la había transmitido.',
  'upstream_unreachable.unusable': 'La aplicación de esta dirección devolvió una respuesta que no se puede transmitir.',
  'upstream_unreachable.unusable.title': 'Respuesta inutilizable',
  'upstream_unreachable.no_websockets': 'La aplicación de esta dirección no acepta WebSockets.',
  'upstream_unreachable.no_websockets.title': 'Sin WebSockets',
  'upstream_timeout': 'La aplicación de esta dirección no respondió a tiempo.',
  'upstream_timeout.title': 'Aplicación demasiado lenta',
  'provider_unavailable':
    'En este momento no se puede acceder al servicio de inicio de sesión. Vuelva a intentarlo en un momento.',
  'provider_unavailable.title': 'Inicio de sesión no disponible',
  'store_unavailable': 'En este momento no se puede consultar su sesión. Vuelva a intentarlo en un momento.',
  'store_unavailable.title': 'Sesiones no disponibles',
  'token_unavailable':
    'En este momento no se ha podido renovar su acceso. Su sesión sigue iniciada; vuelva a intentarlo en un momento.',
  'token_unavailable.title': 'No se puede renovar el acceso',
  'token_unavailable.refused':
    'El servicio de inicio de sesión no ha concedido acceso a la aplicación de esta dirección.',
  'invalid_token': 'El token de acceso de esta solicitud no se puede usar aquí.',
  'invalid_token.title': 'Token no aceptado',
  'invalid_token.weak':
    'El token de acceso de esta solicitud procede de un inicio de sesión demasiado débil o demasiado antiguo.',

  'login_failed': 'No se ha podido completar el inicio de sesión.',
  'login_failed.title': 'Error al iniciar sesión',
  'login_failed.elsewhere':
    'Esta dirección completa un inicio de sesión que empezó en otro lugar o hace demasiado tiempo. Vuelva a iniciar ' +
    'sesión.',
  'login_failed.spent':
    'El servicio de inicio de sesión ya no acepta este inicio de sesión: tardó demasiado, ya se había completado o no ' +
    'está permitido. Vuelva a iniciar sesión.',
  'login_failed.restarted':
    'El inicio de sesión se ha repetido varias veces y ha fallado siempre. Compruebe que este navegador acepta cookies.',
  'login_failed.loop':
    'Ha iniciado sesión {count} veces seguidas y siempre ha vuelto aquí. Compruebe que este navegador acepta cookies; ' +
    'si las acepta, es posible que la aplicación esté mal configurada.',
  'login_failed.two_sessions':
    'Este navegador envía a la vez dos inicios de sesión distintos para este sitio. Ninguno se puede usar, y uno de ' +
    'ellos no se puede eliminar desde aquí. Elimine las cookies de este sitio en los ajustes del navegador y vuelva a ' +
    'intentarlo.',
  'login_failed.other_provider': 'Este sitio no usa el servicio de inicio de sesión solicitado.',
  'login_failed.canceled': 'Se canceló el inicio de sesión, o el servicio de inicio de sesión no lo ha permitido.',
  'login_failed.unfinished':
    'El servicio de inicio de sesión no ha podido completar este inicio de sesión dos veces seguidas. Espere un momento ' +
    'y vuelva a iniciar sesión.',
  'login_failed.step_up':
    'Esta página requiere un inicio de sesión más seguro o más reciente, y el servicio de inicio de sesión no ' +
    'lo ha proporcionado.',
  'login_failed.needs_input': 'El servicio de inicio de sesión necesita que intervenga. Vuelva a iniciar sesión.',
  'login_failed.unusable': 'El servicio de inicio de sesión ha devuelto una respuesta que no se puede usar.',
  'login_failed.refused': 'El servicio de inicio de sesión no ha aceptado lo que pide este inicio de sesión.',
  'login_failed.no_user':
    'El servicio de inicio de sesión no ha indicado quién es usted, por lo que no se ha iniciado la sesión. Vuelva a ' +
    'intentarlo en un momento.',
  'login_failed.no_groups':
    'El servicio de inicio de sesión no ha indicado a qué grupos pertenece, por lo que no se ha iniciado la sesión. ' +
    'Vuelva a intentarlo en un momento. Si sucede de nuevo, avise a los responsables de este sitio.',
  'logout_refused': 'Se ha rechazado esta solicitud de cerrar sesión.',
  'logout_refused.title': 'Cierre de sesión rechazado',
  'logout_refused.used':
    'Este enlace funciona una sola vez, durante un minuto y solo en el navegador en el que cerró la sesión. Aquí la ' +
    'sesión está cerrada.',

  'login': 'Se le está redirigiendo al servicio de inicio de sesión.',
  'login.title': 'Iniciando sesión',
  'choose_provider': 'Elija cómo quiere iniciar sesión.',
  'choose_provider.title': 'Iniciar sesión',
  'signed_in': 'Se le está redirigiendo a la página solicitada.',
  'signed_in.title': 'Sesión iniciada',
  'silent.signed_in': 'Ha iniciado sesión. Puede cerrar esta ventana.',
  'silent.signed_in.title': 'Sesión iniciada',
  'silent.not_signed_in': 'No se ha podido iniciar sesión automáticamente.',
  'silent.not_signed_in.title': 'Sesión no iniciada',
  'confirm_logout': 'Un enlace de otro sitio pide cerrar su sesión.',
  'confirm_logout.title': '¿Cerrar sesión?',
  'signing_out': 'También se está cerrando su sesión en el servicio de inicio de sesión.',
  'signing_out.title': 'Cerrando sesión',
  'signed_out': 'Ha cerrado sesión.',
  'signed_out.title': 'Sesión cerrada',

  'kept_form': 'Lo que ha escrito se conserva en esta pestaña del navegador y se enviará en cuanto inicie sesión.',
  'form_not_kept':
    'Este navegador no conserva nada para este sitio. Vuelva atrás: lo que ha escrito sigue ahí. Inicie sesión en otra ' +
    'pestaña y envíelo de nuevo.',
  'form_too_large':
    'Este formulario contiene archivos o es demasiado grande para conservarlo mientras inicia sesión. No se pierde nada: ' +
    'inicie sesión en una pestaña nueva, vuelva a esta y después a su formulario. Lo que ha escrito sigue ahí; envíelo ' +
    'de nuevo.',
  'form_too_large.title': 'Aún no enviado',
  'posting_form': 'Ha iniciado sesión; su formulario se está enviando.',
  'posting_form.title': 'Enviando el formulario',
  'nothing_to_send': 'No hay nada que enviar: este formulario ya se envió o se conserva en otra pestaña.',
}
