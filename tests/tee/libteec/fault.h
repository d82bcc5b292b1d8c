/* Faults on demand. */
#ifndef FAULT_H
#define FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "control.h"

/* Suffer what the test asks for; true where the call must return this result and origin. */
bool suffer(const struct control *control, enum call call, uint32_t *result, uint32_t *origin);

#endif
