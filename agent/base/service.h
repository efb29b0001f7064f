/* Telling the service manager how we are, as systemd's sd_notify(3) describes the protocol: a datagram to
 * $NOTIFY_SOCKET. Without one nothing happens. Used by certswapd. */
#ifndef BASE_SERVICE_H
#define BASE_SERVICE_H
#include <stdint.h>

void service_notify(const char *state);     /* "READY=1", "RELOADING=1", "STOPPING=1", "WATCHDOG=1", "STATUS=..." */
int64_t service_watchdog_interval_ms(void); /* how often WATCHDOG=1 is due (half of WATCHDOG_USEC); 0: not wanted */
#endif
