/* What `sandbox` in the configuration demands, against what this machine has. Runs in certswapd. */
#ifndef CONTROL_CONFINE_H
#define CONTROL_CONFINE_H
#include "base/fault.h"
#include "settings/settings.h"

/* The policy for --sandbox= of the workers. What is missing on this machine is logged where the settings allow it;
 * where they demand it: NULL and a fault. */
const char *confine_policy(const struct settings *s, const char *worker_path, struct fault *fault);
#endif
