#ifndef FAKE_STDBOOL_H
#define FAKE_STDBOOL_H

#define bool  _Bool
#define true  1
#define false 0

#endif
