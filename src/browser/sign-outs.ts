import type { Channel } from './channel.ts'
import { isOwn, type Gateway } from './gateway.ts'

/** Has all tabs look when this page leaves for a URL that signs out: they do not see where it goes. */
export const announceSignOuts = (gateway: Gateway, channel: Channel): void => {
  const going = (url: string): void => {
    isOwn(gateway, channel, url)
  }
  if ('navigation' in window)
    navigation.addEventListener('navigate', ({ destination }) => {
      going(destination.url)
    })
  else
    document.addEventListener(
      'click',
      ({ target }) => {
        const link = target instanceof Element ? target.closest('a') : null
        if (link !== null) going(link.href)
      },
      true,
    )
}
